"""The reference client: what a phone or a watch does so that nothing that a person logged is ever lost.

    client.py            puts it together: `Client.open`, `log`, `state`, `sync`, `connect`
    core.py              decides. Pure: events in, commands out (messages.py has both)
    store.py             one SQLite file: what was learnt, what is still to be sent, where we stand
    view.py              what the records and the unsent ops come to, by the server's own fold
    transport_socket.py  the protocol over Socket.IO     transport_rest.py  over its REST twins
    account.py           register, sign in, renew tokens, fork
    group.py             a group over the same connection, with rules for clients in other languages;
                         group_core.py decides, group_clock.py and group_cues.py say what is on now

Four promises, which a client in another language must make too:

1. **An op is durable before `log` returns**, with its counter `n`, its context `base` and its time `at`.
   None of the three changes afterwards, except where a fork or a new epoch says so.
2. **Cursor and data move together.** Records and the cursor behind them are one transaction. The cursor is
   the end of the *contiguous* run, so `base` never names a record that is not here.
3. **An op leaves the outbox when its record enters the log**, in one transaction, and at no other moment.
   What is not known to be acknowledged is sent again; the server calls a second one a duplicate.
4. **What was refused is kept** where a person can see and export it.
"""
