"""Image classifiers in Flax NNX, by name.

Every model is called as ``model(images, train=False)``, with float images in [0, 1] of
shape (n, height, width, channels), and returns float32 logits of shape (n,
num_classes). ``train=True`` normalises by the batch, and notes its statistics; NNX's
own ``model.train()`` and ``model.eval()`` decide nothing here. A model holds no random
keys, so there is no dropout. Convolutions, and VGG's hidden layers, start He-normal by
their inputs, other layers as Flax has it: not as in torchvision.

To make a convolutional network of small images fit mixed ones, pass it
``region_encoder="sorted"`` and the size of the regions as ``region_size``, to a
transformer ``patch_encoder="sorted"`` and ``patch_size``.
"""

from vim_jax.models.mobilenet_v2 import MobileNetV2 as MobileNetV2
from vim_jax.models.mobilenet_v2 import MobileNetV2Config as MobileNetV2Config
from vim_jax.models.mobilenet_v3 import MobileNetV3 as MobileNetV3
from vim_jax.models.mobilenet_v3 import MobileNetV3Config as MobileNetV3Config
from vim_jax.models.registry import create_model as create_model
from vim_jax.models.registry import list_models as list_models
from vim_jax.models.registry import model_config as model_config
from vim_jax.models.resnet import ResNet as ResNet
from vim_jax.models.resnet import ResNetConfig as ResNetConfig
from vim_jax.models.shufflenet_v2 import ShuffleNetV2 as ShuffleNetV2
from vim_jax.models.shufflenet_v2 import ShuffleNetV2Config as ShuffleNetV2Config
from vim_jax.models.swin import Swin as Swin
from vim_jax.models.swin import SwinConfig as SwinConfig
from vim_jax.models.torch_weights import load_torch as load_torch
from vim_jax.models.vgg import VGG as VGG
from vim_jax.models.vgg import VGGConfig as VGGConfig
from vim_jax.models.vit import ViT as ViT
from vim_jax.models.vit import ViTConfig as ViTConfig
