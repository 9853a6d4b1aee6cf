"""``python -m flushq ingest``: lines of files and pipes, through a queue, into SQLite."""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Sequence

import attrs
import click

from flushq import FlushFailed, FlushPolicy, FlushQueue, ShutdownTimeout
from flushq.cli.console import Mistake, complain, say
from flushq.cli.figures import Figures, shown_live
from flushq.cli.keys import BadLine, JsonField
from flushq.cli.lines import Row, Skipped
from flushq.cli.policy_text import PolicyText
from flushq.cli.reader import Reader, Unreadable
from flushq.cli.shutdown import Shutdown
