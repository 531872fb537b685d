%% A poem server as Erlang's users write it: eight acceptors on one socket, one process a connection.
%%
%%     escript server.erl PORT FILE [BYTES MILLISECONDS]
%%
%% It ends with a shutdown of the sending side and reads until the reader leaves, as byron does.
-module(server).
-export([main/1]).

main([Port, File | Slow]) ->
    {ok, Poem} = file:read_file(File),
    Pace = case Slow of
        [Bytes, Pause] -> {list_to_integer(Bytes), list_to_integer(Pause)};
        [] -> fast
    end,
    {ok, Listen} = gen_tcp:listen(list_to_integer(Port),
        [binary, {ip, {127, 0, 0, 1}}, {active, false}, {reuseaddr, true}, {backlog, 4096}, {nodelay, true}]),
    [spawn_link(fun() -> accept(Listen, Poem, Pace) end) || _ <- lists:seq(1, 8)],
    receive stop -> ok end.

accept(Listen, Poem, Pace) ->
    {ok, Reader} = gen_tcp:accept(Listen),
    Pid = spawn(fun() -> receive go -> recite(Reader, Poem, Pace) end end),
    ok = gen_tcp:controlling_process(Reader, Pid),
    Pid ! go,
    accept(Listen, Poem, Pace).

recite(Reader, Poem, fast) ->
    gen_tcp:send(Reader, Poem),
    finish(Reader);
recite(Reader, Poem, {Bytes, Pause}) ->
    case Poem of
        <<Now:Bytes/binary, Later/binary>> when Later =/= <<>> ->
            case gen_tcp:send(Reader, Now) of
                ok -> timer:sleep(Pause), recite(Reader, Later, {Bytes, Pause});
                _ -> gen_tcp:close(Reader)
            end;
        _ -> recite(Reader, Poem, fast)
    end.

finish(Reader) ->
    gen_tcp:shutdown(Reader, write),
    case gen_tcp:recv(Reader, 0, 30000) of
        {ok, _} -> finish(Reader);
        {error, _} -> gen_tcp:close(Reader)
    end.
