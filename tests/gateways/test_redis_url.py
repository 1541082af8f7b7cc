"""Where Redis is, from a URL: what is taken, and how the rest is refused."""

from __future__ import annotations

import pytest

from fitai.gateways.bus.redis_url import BadRedisUrl, RedisUrl


@pytest.mark.parametrize(
    ("url", "shown", "service", "options", "sentinel_options"),
    [
        ("redis://h", "redis://h:6379", "", {}, {}),
        ("REDIS://h", "redis://h:6379", "", {}, {}),
        ("redis://[::1]:7", "redis://[::1]:7", "", {}, {}),
        ("redis://:p%40w@h:1/3", "redis://h:1", "", {"password": "p@w", "db": 3}, {}),
        ("redis://h?db=4&max_connections=9", "redis://h:6379", "", {"db": 4}, {}),
        (
            "rediss://u:p@h?ssl_cert_reqs=none",
            "rediss://h:6379",
            "",
            {"username": "u", "password": "p", "ssl_cert_reqs": "none"},
            {"ssl_cert_reqs": "none"},
        ),
        (
            "unix://:p@/run/redis.sock?db=2",
            "unix:///run/redis.sock",
            "",
            {"password": "p", "db": 2, "path": "/run/redis.sock"},
            {},
        ),
        (
            "redis+sentinel://:p@a,b:7,[::1]:9/main/2?sentinel_password=q",
            "redis+sentinel://a:26379,b:7,[::1]:9/main",
            "main",
            {"password": "p", "db": 2},
            {"password": "q"},
        ),
        (
            "rediss+cluster://u:p@a,b:2?ssl_ca_certs=/ca.pem",
            "rediss+cluster://a:6379,b:2",
            "",
            {"username": "u", "password": "p", "ssl_ca_certs": "/ca.pem"},
            {"ssl_ca_certs": "/ca.pem"},
        ),
    ],
)
def test_a_url_is_taken_apart_and_shown_without_its_password(url, shown, service, options, sentinel_options):
    found = RedisUrl.parse(url)
    assert (str(found), found.service) == (shown, service)
    assert (found.options, found.sentinel_options) == (options, sentinel_options)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must be a URL like redis://"),
        ("redis", "must be a URL like redis://"),
        ("http://h", "must be a URL like redis://"),
        ("redis+ring://h", "must be a URL like redis://"),
        ("unix+cluster:///s", "a socket is one server"),
        ("unix://", "must name a socket"),
        ("redis://", "host or host:port"),
        ("redis:///0", "host or host:port"),
        ("redis://h:port", "host or host:port"),
        ("redis://h:99999", "host or host:port"),
        ("redis+cluster://h,", "host or host:port"),
        ("redis://h,i", "must name one server"),
        ("redis://h/main", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        ("redis+sentinel://h", "must name the service"),
        ("redis+sentinel://h/main/x", "number of a database"),
        ("redis+cluster://h/1", "a cluster has only 0"),
        ("redis://h?db=x", "must be a URL of Redis"),
        ("redis://h?nonsense=1", "must not have the option 'nonsense'"),
        ("redis://h?ssl_ca_certs=/x", "must not have the option 'ssl_ca_certs'"),
        ("rediss://h?ssl_cert_reqs=perhaps", "must be a URL of Redis"),
        ("redis://[::1", "must be a URL of Redis"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_its_password(url, why):
    with pytest.raises(BadRedisUrl, match=r"^must") as refused:
        RedisUrl.parse(url.replace("//h", "//u:hunter2@h"))
    assert why in str(refused.value)
    assert "hunter2" not in str(refused.value)
