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

Integers must be the same. Losses and their summands may differ by 5e-4 of their size in the first
five steps; then a loss by more and more, up to 2e-2 in the thirtieth, and a summand by ten times
that. So the first steps tell whether the mathematics is the same. Targets may differ by 2e-6, a
summary of pixels by 1e-3. Streamed, losses may differ by fifteen times as much and pixels by 2e-2,
since resizing rounds another way without AVX2.

Measured on one AMD EPYC with AVX2, torch 2.15, on the nine cases of digits that differed most, on
CIFAR-100 and on streamed files. One thread gave the same numbers again in another process. Without
AVX2 (ATEN_CPU_CAPABILITY=default) the digits used 24 % of what is allowed in the first five steps
and 8 % later, CIFAR-100 19 %, streamed files 31 % and 15 % (their pixels 45 %), targets 0.1 %; with
two threads the digits 32 % and 34 %, CIFAR-100 23 %, streamed files 1 %. AVX-512 and other makers'
processors were not at hand.
Runs have a learning rate of 0.02, CIFAR-100 of 0.005: at 0.1 losses differed by up to 5e-2.
"""
