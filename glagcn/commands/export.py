"""`glagcn export`: write a checkpoint's weights without the optimiser."""


def export(options: dict) -> None:
    """Write the weights of `options["checkpoint"]` to `options["out"]`, in our layout or the published one."""
    from glagcn.checkpoints import checkpoint
    from glagcn.checkpoints.published.export import export_published

    write = export_published if options["layout"] == "published" else checkpoint.export
    write(options["checkpoint"], options["out"])
    print(f"{options['out']}: the weights of {options['checkpoint']}, for sharing")
