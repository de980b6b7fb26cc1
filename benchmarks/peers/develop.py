"""rawpy's whole development of a DNG, and colour-demosaicing's Malvar of a mosaic."""

import time
from importlib.metadata import version

import numpy as np
from serve import serve

ready = {}


def prepare(dng, mosaic):
    import rawpy

    ready["raw"] = rawpy.imread(dng)
    ready["raw"].raw_image  # noqa: B018 (unpacks the file: reading is not timed)
    ready["mosaic"] = np.load(mosaic)
    return {name: version(name) for name in ("rawpy", "colour-demosaicing")}


def rawpy_developed():
    """Levels, white balance, bilinear colours, matrix, the curve of sRGB, 8 bits."""
    import rawpy

    return ready["raw"].postprocess(
        demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
        use_camera_wb=True,
        no_auto_bright=True,
        adjust_maximum_thr=0,
        gamma=(2.4, 12.92),
        output_bps=8,
        user_flip=0,
    )


def malvar():
    from colour_demosaicing import demosaicing_CFA_Bayer_Malvar2004

    return demosaicing_CFA_Bayer_Malvar2004(ready["mosaic"], "RGGB")


WORK = {"rawpy": rawpy_developed, "malvar": malvar}


def once(name, target):
    np.save(target, WORK[name]())
    return {}


def rate(name):
    """Megapixels per second of this core."""
    begin = time.process_time()
    made = WORK[name]()
    return {"rate": made.shape[0] * made.shape[1] / 1e6 / (time.process_time() - begin)}


if __name__ == "__main__":
    serve(np.__version__, {"prepare": prepare, "once": once, "rate": rate})
