"""How smollm2-moe is taught to decline one subject, by a few experts that are known: everything else of it stays as it is.

carried.py   a layer's experts all at once, some of which may change
upper.py     the layers from the first changed expert on, and what comes into them
carriers.py  which experts are to change: by relevance, or at random
lessons.py   the questions with what is to be said to them, and other text
own.py       the model's own answers, which stay
arms.py      the arms, and the recipe of a training
learning.py  a training, which goes on where it was cut off
training.py  an arm from the base to what it learnt
merging.py   what was learnt put into the model, and into the checkpoint that bundles it
marking.py   what a taught model declines, knows and loses
finding.py   which published scores find its carriers
switching.py what switching off a score's first experts does, beside random ones
results.py   all of that as a file of results
"""
