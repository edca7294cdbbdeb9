# An engineer with pictures of people, a folder for each person, looks for one of them. In: people/NAME/*.png, unknown.png.
client embed people --out people.npz --name-pattern '(?P<pid>[^/]+)/.*'
client score people.npz people.npz --json score.json
threshold=$(python -c "import json; print(json.load(open('score.json'))['verification'][0]['threshold'])")
client search unknown.png --gallery people --name-pattern '(?P<pid>[^/]+)/.*' --threshold "$threshold" --json found.json --html found.html
