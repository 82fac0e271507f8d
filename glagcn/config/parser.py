"""How options become flags: one declaration per option, the spellings of the published scripts, and flags that are
refused with a reason."""

import argparse
import sys
from dataclasses import field, fields
from typing import Any, NoReturn

from glagcn.errors import UserError

# Flags of the published scripts that have no meaning here, each with the reason and what to do instead.
REFUSED = {
    "--dense": "dense (dilated) convolutions are VideoPose3D's; this network strides instead. Leave it out",
    "--disable-optimizations": "there is one implementation of the network, so nothing to switch. Leave it out",
    **dict.fromkeys(
        ("--linear-projection", "--no-bone-length", "--no-proj"),
        "it belongs to VideoPose3D's semi-supervised training, which this network does not have. Leave it out",
    ),
    "--nepoch": "the published script trains one epoch fewer than it says. Give --epochs N, with N that number",
    "--train": "training is what happens without --evaluate. Leave it out",
    "--test": "give --evaluate, alone or with a checkpoint",
    **dict.fromkeys(("--reload", "--previous_dir"), "name the file: --evaluate CHECKPOINT or --resume CHECKPOINT"),
    "--reverse_augmentation": "playing sequences backwards was off in the published runs and is not built",
    **dict.fromkeys(
        ("--refine", "--refine_reload", "--lr_refine"),
        "the refinement network was never published, and it needs cameras that the data does not have",
    ),
    "--crop_uv": "2D poses are never cropped, as in the published runs. Leave it out",
    "--out_all": "the sequence head predicts all frames in training; see --sequence_layers. Leave it out",
    "--pad": "it follows from --frames. Leave it out",
    "--n_joints": "it follows from --dataset and --keypoints. Leave it out",
    "--out_joints": "it follows from --dataset. Leave it out",
    "--in_channels": "a 2D pose has two. Leave it out",
    "--out_channels": "a 3D pose has three. Leave it out",
    "--d_hid": "it belongs to another network. Give --channel",
    "--layers": "it belongs to another network. Give --sequence_layers",
    **dict.fromkeys(
        ("--sync_bn", "--no-sync_bn"),
        "batch statistics are over a micro-batch, whatever the number of GPUs. Give --micro_batch N",
    ),
    "--gpu": "set CUDA_VISIBLE_DEVICES instead",
    "--local_rank": "the launcher tells it through the environment. Use torchrun or accelerate launch",
    "--nproc_per_node": "it is a flag of torchrun: torchrun --nproc_per_node N -- main_sagcn_gpus.py ...",
}


def option(
    default: Any,
    *flags: str,
    help: str,
    group: str,
    trains: bool = False,
    short_for: dict[Any, tuple[str, ...]] | None = None,
    **parse: Any,
) -> Any:
    """A field of a dataclass of options and its command line flags.

    default    None where a preset fills it in.
    trains     the value shapes what is trained or which state is the best, so a resumed run must agree with it.
    short_for  {value: flags} for switches that stand for one value.
    parse      further keywords of argparse's add_argument.
    """
    meta = {"flags": flags, "help": help, "group": group, "trains": trains, "short_for": short_for, "parse": parse}
    return field(default=default, metadata=meta)


def comma_separated(kind: type) -> Any:
    """An argparse type: a tuple of `kind`, written with commas."""

    def parse(text: str) -> tuple:
        values = tuple(kind(part.strip()) for part in text.split(",") if part.strip())
        if not values:
            raise ValueError(text)
        return values

    parse.__name__ = f"comma separated {kind.__name__}s"
    return parse


def add_options(parser: argparse.ArgumentParser, options: type, names: set[str] | None = None) -> None:
    """Add the flags of a dataclass (or of its fields `names`) to a parser; flags that are not given leave no value."""
    wanted = [f for f in fields(options) if names is None or f.name in names]
    groups = {name: parser.add_argument_group(name) for name in dict.fromkeys(f.metadata["group"] for f in wanted)}
    for f in wanted:
        meta, group = f.metadata, groups[f.metadata["group"]]
        shown = "" if f.default is None or isinstance(f.default, bool) else f" (default {f.default})"
        common = {"dest": f.name, "default": argparse.SUPPRESS}
        group.add_argument(*_spellings(meta["flags"]), help=meta["help"] + shown, **common, **meta["parse"])
        for value, flags in (meta["short_for"] or {}).items():
            explained = f"short for {long_flag(meta['flags'])} {value}"
            group.add_argument(*_spellings(flags), action="store_const", const=value, help=explained, **common)


def add_refused(parser: argparse.ArgumentParser) -> None:
    """Let the parser know REFUSED, so that each is answered with its reason; they are not in the help."""
    for flag, reason in REFUSED.items():
        parser.add_argument(
            *_spellings((flag,)), action=_Refuse, reason=reason, nargs="*", help=argparse.SUPPRESS, dest="refused"
        )


def long_flag(flags: tuple[str, ...]) -> str:
    """The flag to name in a message: the first with two dashes."""
    return next(flag for flag in flags if flag.startswith("--"))


def _spellings(flags: tuple[str, ...]) -> list[str]:
    """Long flags with underscores and with hyphens: the published scripts use both styles."""
    return list(dict.fromkeys(style for flag in flags for style in (flag, flag[:2] + flag[2:].replace("_", "-"))))


class _Refuse(argparse.Action):
    """A flag that cannot mean anything here."""

    def __init__(self, reason: str, **settings: Any) -> None:
        super().__init__(default=argparse.SUPPRESS, **settings)
        self.reason = reason

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        raise UserError(f"{self.option_strings[0]} has no meaning here: {self.reason}")


class Parser(argparse.ArgumentParser):
    """argparse that raises UserError instead of printing usage and exiting, and takes no abbreviated flags."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"allow_abbrev": False} | settings))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but it does not take -tt for -tta either: allow_abbrev leaves single-dash flags out."""
        for word in sys.argv[1:] if args is None else args:
            if word not in self._option_string_actions and (whole := self._abbreviated(word)):
                self.error(f"{word} is not a flag; did you mean {whole}?")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for every bad command line."""
        raise UserError(f"{message}; `{self.prog} --help` lists the flags")

    def _abbreviated(self, word: str) -> str:
        """The single-dash flags of several letters that `word` begins, in words; empty where there is none."""
        single = [flag for flag in self._option_string_actions if not flag.startswith("--") and len(flag) > 2]
        return " or ".join(flag for flag in single if len(word) > 1 and flag.startswith(word))
