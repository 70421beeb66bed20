"""One provider and one Chromium for all places: those of tests/e2e."""

from __future__ import annotations

from tests.e2e.conftest import (  # noqa: F401 - pytest finds them here
    browser,
    browsers,
    context,
    engine,
    jp_asyncio_loop,
    jp_server_cleanup,
    page,
    playwright,
    provider,
    provider_process,
    pytest_runtest_makereport,
)
