# A researcher with features of a model of his own: what are they worth? In: features.npy, and labels.csv with path, pid, camid.
python - <<'PROGRAM'
import csv

import numpy as np

rows = list(csv.DictReader(open("labels.csv")))
pids, camids = (np.array([int(row[name]) for row in rows]) for name in ("pid", "camid"))
features = np.load("features.npy").astype(np.float32)
asked = np.array([row["path"].startswith("query/") for row in rows])
for name, side in (("query", asked), ("gallery", ~asked)):
    np.savez(f"{name}.npz", descriptors=features[side], pids=pids[side], camids=camids[side])
PROGRAM
client score query.npz gallery.npz --distance cosine --json score.json
