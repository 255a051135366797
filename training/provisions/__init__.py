"""Expected-loss provisions of a decided night, in the three stages of IFRS 9 and CAS 22 (财会〔2017〕7 号).

``rules`` holds the dated house rules; ``staging`` says in which stage a client stands and why;
``loss`` measures the expected loss on the PD, LGD and EAD that the decisions hold; ``movement``
tells two nights apart so that every column adds up to the cent; ``read`` takes the facts from a
lake; ``back_test`` holds earlier nights against what was lost after them.
"""
