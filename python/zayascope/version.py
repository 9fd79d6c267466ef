"""The package's version, the same as Zayascope's."""

VERSION = "0.1.0"
