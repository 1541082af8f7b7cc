from __future__ import annotations

import asyncio
import time

import pytest

from fitai.http.auth.passwords import Passwords
from fitai.persistence.users import Users
from tests.http.conftest import cheap_passwords
