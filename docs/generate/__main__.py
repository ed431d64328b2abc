"""Write everything, and take away schemas that are no more."""

from docs.generate.files import ROOT, SCHEMAS, files

written = dict(files())
for path, text in written.items():
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        print(path.relative_to(ROOT))  # noqa: T201 - what changed, for whoever calls it
for path in SCHEMAS.rglob("*.json"):
    if path not in written:
        path.unlink()
        print(f"{path.relative_to(ROOT)} (deleted)")  # noqa: T201
