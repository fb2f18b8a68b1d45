"""Golden trajectories: what must not change while code is moved and rewritten.

Of every method on the digits, of BAKE on CIFAR-100 (skipped where `../shared/data` lacks it) and
on streamed files: the first thirty steps' losses, the first batches' image numbers and pixels, and
the last evaluation; of a run that was cut off, that it goes on exactly; what the sampler draws;
and the targets of fixed batches. `recorded` has them, `recording` makes them anew.

    uv run python -m tests.golden                # compare; ends with 1 at a difference
    uv run python -m tests.golden streamed       # one case alone
    uv run python -m tests.golden --write        # record anew

`--write` is for a change that means to change the mathematics, the random numbers or the pixels,
in the same commit, whose message says so; never for one that only moves code.

Integers must be the same. Losses may differ by 5e-4 of their size in the first five steps and by
2e-2 in the thirtieth, targets by 2e-6, a summary of pixels by 1e-3 (streamed: 2e-2, as resizing
rounds otherwise without AVX2, and its losses five times the others').

Measured on one AMD EPYC with AVX2, torch 2.15, on the nine cases of digits that differed most, on
CIFAR-100 and on streamed files. One thread gave the same numbers again in another process. Without
AVX2 (ATEN_CPU_CAPABILITY=default) losses differed in the first five steps, and in all thirty, by up
to 2e-5 and 9e-4 on the digits, 3e-6 and 2.4e-3 on CIFAR-100, 7e-4 and 2.7e-3 streamed; summaries of
streamed pixels by 9e-3, of others not at all; targets by 2e-9. With two threads: 5e-5 and 1.3e-3 on
the digits (the others were not measured). AVX-512 and other makers' processors were not at hand.
Runs have a learning rate of 0.02: at the recipe's 0.1 losses differed by up to 5e-2.
"""
