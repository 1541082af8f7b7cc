"""The pages in a real browser: they work under their policies, and a stranger's page gets nowhere."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestServer

from fitai.gateways.live.asyncapi import asyncapi
from fitai.persistence.one_time import OneTimeTokens, Purpose
from tests.browser import browser
from tests.http.groups.conftest import opened

STYLED = "[...document.styleSheets].every(sheet => sheet.cssRules.length > 10) && document.styleSheets.length"

INLINE = """{
  document.body.insertAdjacentHTML('beforeend', '<p style="color: red">x</p>');
  document.head.append(Object.assign(document.createElement('script'), {text: 'window.x = 1'}));
}"""


def empty_page() -> web.Application:
    async def empty(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>x</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", empty)
    return app


def attempts(at: str) -> dict[str, str]:
    """What a page tries on the server at this URL: scripts that give "refused" if they fail."""
    socket = f"{at.replace('http', 'ws')}socket.io/?EIO=4&transport=websocket"
    return {
        "read": f"fetch('{at}health/live').then(r => r.text(), () => 'refused')",
        "read with cookies": f"""
            fetch('{at}health/live', {{credentials: 'include'}}).then(r => r.text(), () => 'refused')""",
        "write": f"""
            fetch('{at}auth/login', {{
                method: 'POST', headers: {{'Content-Type': 'application/json'}}, body: '{{}}'
            }}).then(r => r.status, () => 'refused')""",
        "connect": f"""
            new Promise(done => {{
                const socket = new WebSocket('{socket}');
                socket.onmessage = () => done('open');
                socket.onerror = () => done('refused');
            }})""",
        "frame": f"""
            new Promise(done => {{
                const frame = document.createElement('iframe');
                frame.src = '{at}docs/live';
                frame.onload = () => done(frame.contentDocument === null ? 'refused' : 'shown');
                document.body.append(frame);
            }})""",
    }


async def test_the_pages_work_under_a_policy_without_unsafe_inline(make_api):
    api = await make_api(asyncapi=asyncapi("1.2.3"))
    async with browser() as page:
        for prefix in ("", "/v1"):
            await page.open(str(api.client.make_url(f"{prefix}/docs")))
            await page.until("document.querySelectorAll('.opblock').length > 10")
            assert await page.run(STYLED) == 1
            # Open an operation and send it: what Swagger UI builds on the way is held to the policy too.
            await page.run("document.querySelector('#operations-health-health_live button').click()")
            await page.until("document.querySelector('.opblock .execute')")
            await page.run("document.querySelector('.opblock .execute').click()")
            await page.until("document.querySelector('.live-responses-table .response-col_status')")
            assert "200" in await page.run("document.querySelector('.live-responses-table').innerText")
            assert page.said == []

            await page.open(str(api.client.make_url(f"{prefix}/docs/live")))
            assert await page.run(STYLED) == 1
            assert await page.run("document.querySelectorAll('section.card').length") > 10
            deep = await page.run("getComputedStyle(document.querySelector('td.deep-2')).paddingLeft")
            assert deep == "40px"
            assert page.said == []


async def test_a_person_chooses_a_new_password_on_the_page_of_the_letter(make_api):
    api = await make_api()
    ada = await api.register()
    now = api.clock()
    async with api.db.write() as session:
        token = await OneTimeTokens(session).issue(
            ada.id, Purpose.RESET_PASSWORD, ada.email, now=now, life_ms=60_000
        )

    async def typed(page, password):
        await page.run(f"document.querySelector('[name=password]').value = '{password}'")
        await page.run("document.querySelector('button').click()")
        await page.until("document.getElementById('told').innerText")
        return await page.run("document.getElementById('told').innerText")

    async with browser() as page:
        await page.open(str(api.client.make_url(f"/auth/reset-password?token={token}")))
        assert "common" in await typed(page, "password1")
        await page.run("document.getElementById('told').innerText = ''")
        assert "Done" in await typed(page, "eleven quiet kettlebells")
        assert [said for said in page.said if "422" not in said] == []
    ada.password = "eleven quiet kettlebells"
    assert (await api.login(ada)).email == ada.email


async def test_the_page_of_an_invitation_shows_its_code_and_leads_to_the_app(make_api):
    api = await make_api()
    group = await opened(await api.register(), title="Legs & arms")
    async with browser() as page:
        for prefix in ("", "/v1"):
            await page.open(str(api.client.make_url(f"{prefix}/join/{group.code}")))
            assert "Legs & arms" in await page.run("document.querySelector('main').innerText")
            assert await page.run("document.querySelector('.code').innerText") == group.code
            assert await page.run("document.querySelector('a').href") == f"fitai://join/{group.code}"
            assert "monospace" in await page.run(
                "getComputedStyle(document.querySelector('.code')).fontFamily"
            )
            assert page.said == []


async def test_the_browser_would_tell_of_what_a_policy_forbids(api):
    """The other test does not pass because nobody listens."""
    async with browser() as page:
        await page.open(str(api.client.make_url("/docs/live")))
        await page.run(INLINE)
        assert await page.run("window.x") is None
        assert len([said for said in page.said if "Content Security" in said]) == 2


async def test_a_strangers_page_reads_nothing_sends_nothing_and_opens_no_socket(make_api):
    """Two servers on two ports are two origins to a browser; only the listed one gets through."""
    listed, stranger = TestServer(empty_page()), TestServer(empty_page())
    await listed.start_server()
    await stranger.start_server()
    api = await make_api(live=True, allowed_origins=[str(listed.make_url("/").origin())])
    tried = attempts(str(api.client.make_url("/")))
    async with browser() as page:
        await page.open(str(listed.make_url("/")))
        assert [await page.run(each) for each in tried.values()] == [
            '{"status":"ok"}',
            '{"status":"ok"}',
            422,
            "open",
            "refused",
        ]
        await page.open(str(stranger.make_url("/")))
        assert {name: await page.run(each) for name, each in tried.items()} == dict.fromkeys(tried, "refused")
    await listed.close()
    await stranger.close()
