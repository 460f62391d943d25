"""What the real models read: texts of several kinds to find super experts on, and others to see what muting costs."""

READ = (
    "The old lighthouse keeper walked down to the shore every morning to look for driftwood and shells.",
    "In the spring of that year the river rose higher than anyone could remember. The farmers moved their animals to the "
    "hills, and the children were sent to stay with relatives in the town. When the water went down again, it left a "
    "thick layer of mud over the fields, and for a long time nothing would grow there.",
    "Im Frühling jenes Jahres stieg der Fluss höher, als sich irgendjemand erinnern konnte. Die Bauern brachten ihre "
    "Tiere auf die Hügel.",
    "def largest(values):\n    best = None\n    for value in values:\n        if best is None or value > best:\n"
    "            best = value\n    return best\n",
    "1. apples\n2. pears\n3. plums\n\nName, Age, City\nAnna, 31, Oslo\nBen, 28, Rome\n",
)

HELD_OUT = (
    "Bread is made from flour, water, salt and yeast. The dough is kneaded until it is smooth, left to rise in a warm "
    "place for an hour or two, shaped into a loaf, and baked in a hot oven. While it bakes, the crust turns brown and the "
    "kitchen fills with its smell. Good bread keeps for several days if it is wrapped in a cloth; when it becomes dry, it "
    "can be toasted or used for soup.",
    "The train left the station ten minutes late, and the passengers who had run to catch it were glad. A woman with a "
    "red umbrella took the seat by the window. She opened a book, but she did not read; she looked out at the houses, "
    "the gardens and the long rows of trees, and thought about the letter that had come that morning.",
)
