"""What an upload must do on every store: a part of the contract (contract.py)."""

from __future__ import annotations

import pytest

from prefect_datasets.core.errors import IntegrityError, NotFoundError
from prefect_datasets.core.store import Range, Store
from tests.stores.contents import at_once, keys, sizes_of, spread


class UploadContract:
    """A subclass gives the fixture `store`."""

    def pieces(self, store: Store, n_pieces: int) -> tuple[int, int, bytes]:
        """Return the size of pieces, of the whole, and its bytes: the last piece is short."""
        usual, least = sizes_of(store)
        size = least if least > 1 else usual
        n_bytes = (n_pieces - 1) * size + 12_345
        return size, n_bytes, spread(n_bytes)

    def test_upload_in_order(self, store: Store) -> None:
        size, n_bytes, data = self.pieces(store, 2)
        view = memoryview(data)
        with store.upload("big", n_bytes) as upload:
            # One piece of several buffers, as headers and files follow each other in a package.
            upload.piece(0, 0, [view[:10], b"", view[10:size]])
            assert store.info("big") is None
            upload.piece(1, size, view[size:])
            assert store.info("big") is None
            assert keys(store) == []
            upload.complete()
        assert store.read("big") == data
        assert keys(store) == ["big"]

    def test_upload_in_any_order_at_once(self, store: Store) -> None:
        size, n_bytes, data = self.pieces(store, 4)
        with store.upload("big", n_bytes) as upload:
            if not upload.any_order:
                pytest.skip("this store takes pieces in order")
            starts = list(enumerate(range(0, n_bytes, size)))
            acts = [
                lambda n=n, at=at: upload.piece(n, at, memoryview(data)[at : at + size])
                for n, at in reversed(starts)
            ]
            assert at_once(*acts) == [None] * 4
            upload.complete()
        assert store.read("big") == data

    @pytest.mark.parametrize("n_bytes", [0, 1, 70_000])
    def test_upload_of_one_piece(self, store: Store, n_bytes: int) -> None:
        data = spread(n_bytes)
        with store.upload("small", n_bytes) as upload:
            if n_bytes:
                upload.piece(0, 0, data)
            upload.complete()
        assert store.read("small") == data

    def test_upload_replaces(self, store: Store) -> None:
        store.write("key", b"old")
        with store.upload("key", 3) as upload:
            upload.piece(0, 0, b"new")
            assert store.read("key") == b"old"
            upload.complete()
        assert store.read("key") == b"new"

    def test_upload_copies_ranges(self, store: Store) -> None:
        size = max(sizes_of(store)[1], 100_000)
        old = spread(3 * size, seed=3)
        store.write("old", old)
        n_bytes = 2 * size + 50
        with store.upload("new", n_bytes) as upload:
            if not upload.can_copy:
                pytest.skip("this store copies no ranges")
            upload.copy(1, size, Range("old", 7, size))
            upload.piece(0, 0, b"n" * size)
            upload.copy(2, 2 * size, Range("old", 3 * size - 50, 50))
            upload.complete()
        assert store.read("new") == b"n" * size + old[7 : 7 + size] + old[-50:]

    def test_upload_copies_no_more_than_there_is(self, store: Store) -> None:
        store.write("old", b"0123456789")
        with store.upload("new", 20) as upload:
            if not upload.can_copy:
                pytest.skip("this store copies no ranges")
            with pytest.raises(IntegrityError, match="ends early"):
                upload.copy(0, 0, Range("old", 5, 6))
            with pytest.raises(NotFoundError, match="no/such"):
                upload.copy(0, 0, Range("no/such", 0, 6))
            upload.abort()
        assert keys(store) == ["old"]

    def test_an_aborted_upload_shows_nothing(self, store: Store) -> None:
        size, n_bytes, data = self.pieces(store, 2)
        upload = store.upload("big", n_bytes)

        def fail_half_way() -> None:
            with upload:
                upload.piece(0, 0, memoryview(data)[:size])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_half_way()
        upload.abort()
        assert keys(store) == []
        assert store.info("big") is None
        assert store.abort_stale_uploads(-3600) == 0

    def test_an_abandoned_upload_can_be_dropped(self, store: Store) -> None:
        size, n_bytes, data = self.pieces(store, 2)
        upload = store.upload("big", n_bytes)
        upload.piece(0, 0, memoryview(data)[:size])
        assert keys(store) == []
        assert store.abort_stale_uploads(3600) == 0
        assert store.abort_stale_uploads(-3600) == (1 if store.kind in ("file", "s3") else 0)
        upload.abort()
