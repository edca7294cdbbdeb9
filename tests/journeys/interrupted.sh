# An embedding that Ctrl-C ends after some pictures, and the same command again. In: many/*.jpg.
set -m  # Ctrl-C reaches a background job
client embed many --out many.npz --model qafm_fast --concurrency 1 2> first.txt &
embedding=$!
until [ "$(find "$QAFM_CACHE" -name '*.description' 2> /dev/null | wc -l)" -ge 16 ]; do sleep 0.1; done
kill -INT $embedding
wait $embedding && exit 1
grep 'interrupted: what was described of a folder is kept; the same command goes on' first.txt
client embed many --out many.npz --model qafm_fast 2> second.txt
grep 'describe, [1-9][0-9]* known' second.txt
