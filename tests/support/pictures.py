"""Files that a PeerServer has descriptors for: each is one at the place that its content names."""

PICTURES = {
    "query/0001_c1s1_000001_00.jpg": b"1 query",
    "query/0002_c1s1_000001_00.jpg": b"2 query",
    "bounding_box_test/0000_c3s1_000001_00.jpg": b"0 other",
    "bounding_box_test/0001_c2s1_000001_00.jpg": b"1 match",
    "bounding_box_test/0002_c2s1_000001_00.jpg": b"2 match",
}
