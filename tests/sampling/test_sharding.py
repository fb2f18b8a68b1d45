from helpers.processes import run_python


def test_accelerate_gives_every_image_once_in_whole_groups_or_refuses(tmp_path):
    run_python(
        """
        import torch, torch.distributed as dist
        from accelerate import Accelerator, DataLoaderConfiguration
        from torch.utils.data import DataLoader, TensorDataset
        from torchbake import ClassGroupedBatchSampler

        def drawn(loader):
            batches = [batch.view(-1, 4).tolist() for (batch,) in loader]
            everyone = [None, None]
            dist.all_gather_object(everyone, batches)
            return everyone

        def check(prepared, batch_size=8, **setting):
            configuration = DataLoaderConfiguration(**setting)
            accelerator = Accelerator(cpu=True, dataloader_config=configuration)
            shares = {"rank": 0, "world_size": 1} if prepared else {}
            sampler = ClassGroupedBatchSampler(labels, batch_size, partners=3, **shares)
            loader = DataLoader(TensorDataset(torch.arange(80)), batch_sampler=sampler)
            loader = accelerator.prepare(loader) if prepared else loader
            epochs = [drawn(loader) for _ in range(3)]
            assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
            for mine, others in epochs:
                assert len(mine) == len(others) == 5
                groups = [group for batch in mine + others for group in batch]
                assert sorted(sum(groups, [])) == list(range(80))
                assert all(len(set(labels[group].tolist())) == 1 for group in groups)

        dist.init_process_group("gloo")
        labels = torch.arange(80) // 4
        check(prepared=False)
        check(prepared=True)
        check(prepared=True, batch_size=16, split_batches=True)
        check(prepared=True, dispatch_batches=True)

        for setting in {}, {"split_batches": True}, {"dispatch_batches": True}:
            configuration = DataLoaderConfiguration(**setting)
            accelerator = Accelerator(cpu=True, dataloader_config=configuration)
            sampler = ClassGroupedBatchSampler(labels, 8, partners=3)
            loader = DataLoader(
                TensorDataset(torch.arange(80)), batch_sampler=sampler, num_workers=1
            )
            prepared = accelerator.prepare(loader)
            if setting.get("dispatch_batches") and dist.get_rank() > 0:
                continue  # draws nothing: it waits for the first rank
            try:
                next(iter(prepared))
            except RuntimeError as error:
                assert "divided them among 2 already" in str(error)
            else:
                raise AssertionError("images were lost")
        dist.barrier()
        dist.destroy_process_group()
        """,
        tmp_path,
        ranks=2,
    )


def test_ranks_that_all_draw_the_same_batches_are_warned(tmp_path):
    run_python(
        """
        import warnings
        import torch.distributed as dist
        from torchbake import ClassGroupedBatchSampler

        early = ClassGroupedBatchSampler([0, 1] * 8, 4)
        told = ClassGroupedBatchSampler([0, 1] * 8, 4, rank=0, world_size=1)
        dist.init_process_group("gloo")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            list(told), list(ClassGroupedBatchSampler([0, 1] * 8, 4))
            assert not seen
            list(early)
        (warning,) = seen
        assert "all 2 ranks draw the same batches" in str(warning.message)
        assert warning.filename == __file__
        dist.destroy_process_group()
        """,
        tmp_path,
        ranks=2,
    )
