"""Archives and tables the tests of images put pictures in."""

import io
import tarfile
import zipfile

from pictures import encoded, picture

JPEG = encoded(picture(seed=1), "JPEG")
PNG = encoded(picture(seed=2), "PNG")
IDS = ["cats/a.jpg", "cats/b.png", "dogs/c.webp", "dogs/deep/d.gif"]  # of the fixture `folder`


def zipped(entries, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def tarred(entries, path, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def files(folder):
    return [
        (path.relative_to(folder).as_posix(), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def cells(start, stop):
    return [
        {
            "image": {"bytes": encoded(picture(seed=at), "PNG"), "path": f"p{at}.png"},
            "label": at % 2,
            "text": f"nr {at}",
        }
        for at in range(start, stop)
    ]
