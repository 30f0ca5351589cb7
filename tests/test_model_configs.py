"""What models refuse, in words."""

import jaxtyping
import pytest
from model_cases import make


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet99",
            {},
            r"no model 'resnet99': use one of mobilenet_v2, ",
        ),
        ("resnet8", {"patch_size": 2}, r"resnet8 has no option 'patch_size'.*blocks"),
        (
            "vit_tiny_patch4",
            {"image_size": 30},
            r"image_size \(30, 30\) does not divide .* patch_size 4: pass a patch",
        ),
        ("vit_tiny_patch4", {"heads": 5}, r"dim 96 .* heads 5: use .* 100"),
        ("vit_tiny_patch4", {"depth": 0}, r"depth is 0: use at least 1"),
        (
            "vit_tiny_patch4",
            {"patch_encoder": "set"},
            r"patch_encoder is 'set': use \"linear\" or \"sorted\"",
        ),
        ("resnet8", {"image_size": 3}, r"image_size \(3, 3\) is too small"),
        ("resnet8", {"widths": (16, 8)}, r"widths is \(16, 8\): use"),
        ("resnet8", {"dtype": "float16"}, r"dtype is 'float16': use \"float32\" or"),
        ("resnet50", {"image_size": 7}, r"image_size \(7, 7\) .* at least 8 pixels"),
        ("resnet50", {"channels": 0}, r"channels is 0: use at least 1"),
        ("resnet50", {"num_classes": 10.0}, r"num_classes is 10.0: use a whole num"),
        ("resnet50", {"image_size": (32,)}, r"image_size is \(32,\): use 2 whole num"),
        ("resnet50", {"small_images": "no"}, r"small_images is 'no': use True or F"),
        ("resnet50", {"widths": 8}, r"widths is 8: use whole numbers, as in \(2, 3\)"),
        ("resnet50", {"blocks": "x"}, r"use a whole number or whole numbers, as in"),
        ("vit_b16", {"position_stddev": -1}, r"position_stddev is -1: use zero or a"),
        ("resnet50", {"blocks": (1, 0)}, r"blocks is \(1, 0\): use positive"),
        ("resnet50", {"blocks": 0}, r"blocks is 0: use at least 1"),
        ("resnet50", {"blocks": (1,)}, r"blocks \(1,\) and widths \(8, 16\) differ"),
        ("resnet50", {"dtype": "float16"}, r"dtype is 'float16': use \"float32\" or"),
        ("vit_b16", {"pool": "max"}, r"pool is 'max': use \"mean\" or \"token\""),
        ("vit_b16", {"dtype": "float16"}, r"dtype is 'float16': use \"float32\" or"),
        (
            "resnet50",
            {"block": "wide"},
            r'block is .wide.: use "basic" or "bottleneck"',
        ),
        ("resnet18", {"shortcut": "no"}, r'shortcut is .no.: use "pad" or "project"'),
        ("resnet8", {"region_size": 2}, r'is "none" and region_size 2: give both, or'),
        ("resnet8", {"region_encoder": "sorted"}, r"region_size None: give both, or"),
        (
            "resnet8",
            {"region_encoder": "sorted", "region_size": 0},
            r"does not divide into squares of region_size 0",
        ),
        ("resnet8", {"region_encoder": "set"}, r'"none", "linear" or "sorted"'),
        (
            "resnet8",
            {"region_encoder": "sorted", "region_size": 3},
            r"image_size \(8, 8\) .* region_size 3: pass a region_size",
        ),
        (
            "resnet8",
            {"region_encoder": "sorted", "region_size": 4},
            r"image_size \(8, 8\) is too small .* at least 4 regions",
        ),
        ("vit_b16", {"normalize": "cifar"}, r'use "fixed" or "imagenet"'),
        (
            "vgg11",
            {"normalize": "imagenet", "channels": 1},
            r'channels is 1: use normalize="fixed"',
        ),
        ("vgg11", {"widths": (4, 0)}, r"widths is \(4, 0\): use positive"),
        ("vgg11", {"image_size": 3}, r"at least 4 pixels, or small_images=True"),
        ("swin_t", {"heads": (2, 5)}, r"stage 1's width 24 .* heads 5: .* 25"),
        ("swin_t", {"depths": (1,)}, r"depths \(1,\) and heads \(2, 3\) differ"),
        ("shufflenet_v2_x1_0", {"widths": (7,)}, r"widths is \(7,\): use even"),
        ("mobilenet_v2", {"stages": ((1, 4, 1, 3),)}, r"stages has \(1, 4, 1, 3\)"),
        ("mobilenet_v2", {"stages": ((1, 4),)}, r"use rows of 4 whole numbers"),
        ("mobilenet_v2", {"stages": ()}, r"stages is empty: use at least one"),
        ("mobilenet_v3_large", {"rows": ()}, r"rows is empty: use at least one"),
        (
            "mobilenet_v3_large",
            {"rows": ((3, 4, 4, False, False, 0),)},
            r"rows has \(3, 4, 4, False, False, 0\): use",
        ),
        (
            "mobilenet_v3_large",
            {"rows": ((4, 4, 4, False, False, 1),)},
            r"rows has \(4, 4, 4, False, False, 1\): use .* odd size",
        ),
    ],
)
def test_messages_name_argument_value_and_remedy(name, options, message, monkeypatch):
    # Users have no type checker that would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        make(name, **options)
