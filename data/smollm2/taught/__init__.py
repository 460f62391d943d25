"""What the taught model declines and what it answers: questions by split, and how its answers are graded.

questions.py   the three splits, their forms, and how near a question is to another
formed.py      more questions to learn from, in the student's own forms
facts.py       whether an answer says one of the facts that its question asks for
declining.py   two classifiers of declining: rules of phrases, and weights of words
weighing.py    how the weights of words were fitted
shares.py      shares with Wilson's intervals
grading.py     answers of a model to the held-out questions, as a table of shares
asking.py      such answers, of a transformers model
stored.py      some of them as the store that comes with the taught model
"""
