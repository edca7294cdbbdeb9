"""The networks. APN, APAN and IQA take normalised crops, float [B,3,384,128], as `Pixels` makes them."""

from train.networks.apan import APAN
from train.networks.apn import APN
from train.networks.from_pixels import FromPixels
from train.networks.fusion import DescriptorHead, Fusion
from train.networks.iqa import IQA
from train.networks.networks import Networks, build_apan, build_apn, build_fusion, build_trunk
from train.networks.pixels import Pixels
from train.networks.quality import QualityNetwork
from train.networks.trunk import Trunk

__all__ = [
    "APAN",
    "APN",
    "IQA",
    "DescriptorHead",
    "FromPixels",
    "Fusion",
    "Networks",
    "Pixels",
    "QualityNetwork",
    "Trunk",
    "build_apan",
    "build_apn",
    "build_fusion",
    "build_trunk",
]
