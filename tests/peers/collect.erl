#!/usr/bin/env escript
%% Collects poems from servers: collect.erl PORT...
%%
%% One process for each poem, spawned with a monitor; the collector counts poems and 'DOWN's and is done when every process
%% has gone. It prints the poems in the order of the arguments, if all came whole.

main(Ports) ->
    Self = self(),
    Tasks = lists:seq(1, length(Ports)),
    [spawn_monitor(fun() -> listen(Self, Task, list_to_integer(Port)) end) || {Task, Port} <- lists:zip(Tasks, Ports)],
    Poems = collect(length(Ports), #{}),
    case [Task || Task <- Tasks, not maps:is_key(Task, Poems)] of
        [] ->
            ok = file:write(standard_io(), [maps:get(Task, Poems) || Task <- Tasks]);
        Lost ->
            io:format(standard_error, "no poem from ~p~n", [Lost]),
            halt(1)
    end.

%% The bytes as they are: an io device would take them for characters.
standard_io() ->
    {ok, Device} = file:open("/dev/stdout", [write, raw, binary]),
    Device.

collect(0, Poems) ->
    Poems;
collect(Left, Poems) ->
    receive
        {poem, Task, Poem} ->
            collect(Left, Poems#{Task => Poem});
        {'DOWN', _Monitor, process, _Pid, normal} ->
            collect(Left - 1, Poems);
        {'DOWN', _Monitor, process, _Pid, Reason} ->
            io:format(standard_error, "a listener fell: ~p~n", [Reason]),
            collect(Left - 1, Poems)
    end.

listen(Collector, Task, Port) ->
    Options = [binary, {active, false}, {show_econnreset, true}],
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    Collector ! {poem, Task, recite(Socket, [])}.

recite(Socket, Chunks) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Chunk} ->
            io:format(standard_error, "got ~b bytes~n", [byte_size(Chunk)]),
            recite(Socket, [Chunk | Chunks]);
        {error, closed} ->
            lists:reverse(Chunks);
        {error, Reason} ->
            exit(Reason)
    end.
