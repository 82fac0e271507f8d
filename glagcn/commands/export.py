"""`glagcn export`: write a checkpoint's weights without the optimiser."""


def export(options: dict) -> None:
    """Write the weights of `options["checkpoint"]` to `options["out"]`, in our layout or the published one."""
    from glagcn.checkpoints import checkpoint
    from glagcn.checkpoints.load import load
    from glagcn.checkpoints.published.export import export_published

    source, target = options["checkpoint"], options["out"]
    if options["layout"] == "published":
        export_published(source, target)
    else:
        checkpoint.export(checkpoint.must_be_ours(load(source).content, source), target)
    print(f"{target}: the weights of {source}, for sharing")
