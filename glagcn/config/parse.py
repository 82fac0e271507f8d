"""The command line: argparse for the described options, flags that are refused with a reason, and --config FILE."""

import argparse
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin

from glagcn.config.options import GROUPS, OPTIONS, Group, Option, RenderConfig, foreign_options, options_of
from glagcn.errors import UserError

HELP_ALL = "--help-all"


# {flags: why it is refused, and what to do}: flags of other programs, in every command that has no such flag
REFUSED_EVERYWHERE = {
    "--gpu --gpus --gpu_id --gpu_ids --num_gpus --n_gpu --devices":
        "a process uses one GPU; set CUDA_VISIBLE_DEVICES to choose it. To train or evaluate on N GPUs, use "
        "torchrun --nproc_per_node N or accelerate launch --num_processes N",
    "--device --cuda --use_cuda --no_cuda --cpu":
        "a GPU is used where there is one. Set CUDA_VISIBLE_DEVICES to choose it; set to nothing, it means the CPU",
    "--num_workers --n_workers --dataloader_num_workers --pin_memory":
        "there are no loader processes: windows are cut from memory, on the device. Leave it out",
}  # fmt: skip

# Likewise, of the published scripts and other trainers, in `glagcn train`
REFUSED = REFUSED_EVERYWHERE | {
    "--dense": "this network uses strided, not dense (dilated) convolutions. Leave it out",
    "--disable-optimizations --linear-projection --no-bone-length --no-proj":
        "it belongs to VideoPose3D. Leave it out",
    "--nepoch": "the published script trains for one epoch fewer than --nepoch. Give --epochs with that number",
    "--train": "training is the default. Leave it out",
    "--test": "give --evaluate, alone or with a checkpoint",
    "--reload --previous_dir --pretrained --ckpt --weights":
        "name the file: --evaluate CHECKPOINT or --resume CHECKPOINT",
    "--reverse_augmentation": "reversing sequences in time was off in the published runs and is not implemented",
    "--refine --refine_reload --lr_refine":
        "the refinement network was never published, and needs cameras that the data does not have",
    "--crop_uv": "2D poses are never cropped, as in the published runs. Leave it out",
    "--out_all --pad --n_joints --out_joints --in_channels --out_channels":
        "it follows from --dataset, --keypoints, --frames and --sequence_layers. Leave it out",
    "--d_hid --layers": "it belongs to another network. Give --channel or --sequence_layers",
    "--sync_bn --no-sync_bn":
        "batch statistics are per micro-batch, independent of the number of GPUs. Give --micro_batch N",
    "--fp16 --bf16 --amp --mixed_precision": "give --precision auto, fp32, tf32 or bf16; auto is the default",
    "--wandb --use_wandb --wandb_project --mlflow --tensorboard --report_to --logger":
        "give --log_with tensorboard (the default), wandb, mlflow or none. WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME in "
        "the environment names the project",
    "--output_dir --save_dir --log_dir --work_dir --exp_name":
        "the folder of the runs is -c, the name of a run --run. Give these",
    "--gradient_accumulation_steps": "a large batch is cut by itself. Give --micro_batch N or --accumulate K",
    "--distributed --multi_gpu --ddp --world_size --num_processes --local_rank --nproc_per_node":
        "the launcher decides. Use torchrun --nproc_per_node N -m -- glagcn train ..., or "
        "accelerate launch -m glagcn train ...",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError instead of exiting, and does not accept abbreviated flags.

    refused  {flags: reason} of flags to refuse with a reason, if the parser does not have them.
    """

    def __init__(self, refused: Mapping[str, str] = REFUSED_EVERYWHERE, **settings: Any) -> None:
        super().__init__(**({"allow_abbrev": False} | settings))
        self.register("type", Path, lambda text: Path(in_home(text)))
        self.refused = {_squeezed(flag): reason for flags, reason in refused.items() for flag in flags.split()}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but first refuses unknown flags, and abbreviated ones such as -tt, which argparse accepts."""
        words = list(sys.argv[1:] if args is None else args)
        single = [flag for flag in self._option_string_actions if not flag.startswith("--") and len(flag) > 2]
        for word in words:
            verb = self._subparsers is not None and not word.startswith("-")
            if verb or word == "--":
                break  # what follows is for the verb, or no flag
            flag = word.partition("=")[0]
            if flag in self._option_string_actions or " " in word:
                continue
            if word.startswith("--"):
                self._refuse(flag)
            if len(word) > 1 and (whole := [flag for flag in single if flag.startswith(word)]):
                self.error(f"{word} is not a flag; did you mean {' or '.join(whole)}?")
        return super().parse_known_args(words, namespace)

    def _refuse(self, flag: str) -> NoReturn:
        """Raise UserError for an unknown flag, with the reason if there is one, else with the nearest flag."""
        if reason := self.refused.get(_squeezed(flag)):
            raise UserError(f"{flag} has no meaning here: {reason}")
        known: dict[str, str] = {}  # the first spelling of a flag is the one that the help lists
        for name in self._option_string_actions:
            if name.startswith("--"):
                known.setdefault(_squeezed(name), name)
        longer = sorted((name for name in known if name.startswith(_squeezed(flag))), key=len)
        near = longer or get_close_matches(_squeezed(flag), known, 1)
        if not near:
            self.error(f"unrecognized {flag}")
        raise UserError(f"unrecognized {flag}; did you mean {known[near[0]]}? `{self.prog} --help` lists the flags")

    def error(self, message: str) -> NoReturn:
        """Raise UserError; argparse calls this for every invalid command line."""
        found = re.match(r"argument (--\w+): invalid choice: '(\d+)'", message)
        if found and f"{found[1]}s" in self._option_string_actions:  # --frame 81
            message += f"; did you mean {found[1]}s {found[2]}?"
        if found := re.match(r"argument VERB: invalid choice: '(.*?)'", message):
            commands = self._subparsers._group_actions[0].choices  # type: ignore[union-attr]
            near = get_close_matches(found[1], commands, 1)  # type: ignore[arg-type]
            hint = f"; did you mean {near[0]}?" if near else f": must be one of {', '.join(commands)}."  # type: ignore[arg-type]
            raise UserError(f"no command {found[1]}{hint} `{self.prog} --help` says what each does")
        raise UserError(f"{message}; `{self.prog} --help` lists the flags")


def add_options(
    parser: argparse.ArgumentParser,
    *groups: type[Group],
    keys: Iterable[str] | None = None,
    listed: Callable[[Option], bool] = lambda _: True,
    usual: Mapping[str, Any] | None = None,
) -> None:
    """Add the flags of groups of options.  Flags that are not given have no value in the parsed namespace.

    keys    of the options to add; None: all.
    listed  whether the help lists an option.
    usual   values by key that the help gives as defaults, such as those of a preset; None: those of all presets.
    The help lists one spelling of each flag; `other_spellings` lists the others.
    """
    for group in groups:
        chosen = [option for option in options_of(group) if keys is None or option.key in keys]
        heading = parser.add_argument_group(group.title) if chosen else parser
        for option in chosen:
            shared: dict[str, Any] = {"dest": option.key, "default": argparse.SUPPRESS}
            default = usual.get(option.key) if usual else option.default
            has_default = isinstance(default, str | int | float | tuple) and (usual or not isinstance(default, bool))
            value = ",".join(map(str, default)) if isinstance(default, tuple) else default
            text = option.help + (f" (default {value})" if has_default and value != "" else "")
            shown = text if listed(option) else argparse.SUPPRESS
            heading.add_argument(option.flag, help=shown, **shared, **_arguments(option))
            if others := [s for s in _spellings((option.flag, *option.flags)) if s != option.flag]:
                parser.add_argument(*others, help=argparse.SUPPRESS, **shared, **_arguments(option))
            for value, flags in option.switches.items():
                constant = {"action": "store_const", "const": value, "help": argparse.SUPPRESS}
                parser.add_argument(*_spellings(flags), **constant, **shared)


def parse_flags(words: Iterable[str]) -> dict[str, Any]:
    """The values of flags of `glagcn train` that do not come from its command line, by key.  Raises UserError."""
    parser = Parser(REFUSED, prog="glagcn train", add_help=False)
    add_options(parser, *GROUPS.values(), RenderConfig)
    return vars(parser.parse_args(list(words)))


def parse_keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """The values of keyword arguments that are named as flags, by key, checked as flags are; None is not given.

    Raises UserError.
    """
    keys = {flag.lstrip("-"): key for key, option in OPTIONS.items() for flag in (option.flag, *option.flags)}
    given = {keys.get(name, name): value for name, value in options.items() if value is not None}
    return parse_flags([word for key, value in given.items() for word in flag_words("", key, value)])


def named_preset(words: Iterable[str]) -> dict[str, Any]:
    """The values of --dataset and --recipe among the words of a command line, by key."""
    parser = Parser(prog="glagcn train", add_help=False)
    add_options(parser, *GROUPS.values(), keys=[key for key, option in OPTIONS.items() if option.names_preset])
    return vars(argparse.ArgumentParser.parse_known_args(parser, list(words))[0])  # ignores the others


def flags_file(content: dict[str, Any]) -> str:
    """The options of a config.json as a TOML file that `read_flags` reads."""
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in _for_another_run(content).items())


def other_spellings() -> str:
    """One line with the spellings of the flags of `glagcn train` that the help does not list."""
    options = options_of(*GROUPS.values(), RenderConfig)
    same = [f"{' '.join(option.flags)} = {option.flag}" for option in options if option.flags]
    switches = [
        f"{' '.join(flags)} = {option.flag} {value}" for option in options for value, flags in option.switches.items()
    ]
    return f"Other spellings: {', '.join([*same, *switches])}; hyphens for underscores."


def comma_separated(kind: type) -> Callable[[str], tuple]:
    """An argparse type that parses comma-separated values into a tuple of `kind`."""

    def parse(text: str) -> tuple:
        values = tuple(kind(part.strip()) for part in text.split(",") if part.strip())
        if not values:
            raise ValueError(text)
        return values

    parse.__name__ = f"comma separated {kind.__name__}s"
    return parse


def in_home(path: str | Path) -> str:
    """The path with the home folder for a `~` at its start, which a shell leaves in --flag=~/x."""
    return os.path.expanduser(path)  # noqa: PTH111  # that of Path raises where there is no home


def _arguments(option: Option) -> dict[str, Any]:
    """The keyword arguments of add_argument that follow from the type of an option, and its own."""
    parts = get_args(option.type) if isinstance(option.type, UnionType) else (option.type,)
    kind = next(part for part in parts if part is not NoneType)
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction if option.switch else "store_true"} | dict(option.argparse)
    if get_origin(kind) is tuple:
        return {"type": comma_separated(get_args(kind)[0])} | dict(option.argparse)
    if option.is_path:
        return {"type": in_home} | dict(option.argparse)
    return ({"type": int, "metavar": "N"} if kind is int else {"type": kind}) | dict(option.argparse)


def _squeezed(flag: str) -> str:
    """A flag without what people spell differently: --batchSize, --batch-size and --batch_size are one."""
    return flag.lower().replace("-", "").replace("_", "")


def _spellings(flags: tuple[str, ...]) -> list[str]:
    """The flags, each with underscores and with hyphens."""
    return list(dict.fromkeys(style for flag in flags for style in (flag, flag[:2] + flag[2:].replace("_", "-"))))


def read_flags(path: Path) -> dict[str, Any]:
    """The flags in the file of --config, as {option: value}.

    The keys of a TOML file are flags without dashes, in any tables:  frames = 81,  causal = true,
    subjects_train = ["S1", "S2"].  A file that ends in .json is the config.json of a run.
    Raises UserError, naming file and key, for an unreadable file, an unknown flag or an invalid value.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"invalid --config {path}: {reason}; give flags in TOML, or a config.json") from None
    except (ValueError, RecursionError) as error:  # from JSON, TOML or UTF-8
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise UserError(f"invalid --config {path}: not {kind} ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"invalid --config {path}: holds a {type(content).__name__}, must hold flags with their values")
    if path.suffix == ".json":
        content = _for_another_run(content)
    words = [word for key, value in _flat(content) for word in flag_words(f"{path}: ", key, value)]
    try:
        return parse_flags(words)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def combined(file: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The values of file and command line.  The command line wins, also over an alternative option in the file."""
    pairs = [(key, option.instead_of) for key, option in OPTIONS.items() if option.instead_of]
    replaced = {other for pair in pairs for one, other in (pair, pair[::-1]) if one in given}
    return {key: value for key, value in file.items() if key not in replaced} | given


def _for_another_run(content: dict[str, Any]) -> dict[str, Any]:
    """The options of a config.json that another run can take: those of a run, and of two alternatives the one that
    counts.

    Leaves out the options of other versions, as resolve.from_dict does, and those without effect on this run.
    """
    kept = {}
    for key, option in OPTIONS.items():
        value = content.get(key)
        if value is None and option.default is not None:
            value = option.off
        if key in content and value not in (None, "", []) and not option.call:
            kept[key] = value
    unused = {OPTIONS[key].instead_of for key in kept}
    if isinstance(kept.get("model"), str):
        unused |= foreign_options(kept["model"])
    if kept.get("select_on") != "validation":
        unused |= {"validation", "validation_frames"}
    return {key: value for key, value in kept.items() if key not in unused}


def _flat(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All (key, value) pairs, including those in tables."""
    for key, value in content.items():
        yield from _flat(value) if isinstance(value, dict) else [(key, value)]


def flag_words(source: str, key: str, value: Any) -> list[str]:
    """The equivalent command-line arguments; `source` begins the message about an unknown key."""
    option = OPTIONS.get(key.replace("-", "_"))
    if option is None:
        near = get_close_matches(key, OPTIONS, 1)
        raise UserError(f"{source}no flag --{key}" + (f"; did you mean {near[0]}?" if near else ""))
    if option.type is bool and isinstance(value, bool):
        if option.switch:
            return [option.flag if value else f"--no-{option.flag[2:]}"]
        return [option.flag] if value else []
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [f"{option.flag}={text}"]
