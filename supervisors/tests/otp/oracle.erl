%% The oracle: drives Erlang/OTP's own `supervisor` through scenarios and prints what happened.
%%
%% Started by the tests as `erl -noinput -pa DIR -run oracle main`. Reads one scenario (JSON) per line
%% on stdin and prints, per scenario and in input order, one trace line per operation, then
%% {"end":SEED}. Exits with status 0 at end of input. It never decides anything a supervisor decides: it
%% builds the tree, performs the operations and writes down what the workers and monitors see.
%%
%% Processes. `main` reads and prints. Each scenario has a driver, which is the parent of the root
%% supervisor and performs the operations, and a recorder, to which every worker and supervisor reports
%% synchronously before it goes on, so that cause precedes effect in the record. The recorder monitors
%% each process before the start of that process returns: no death is missed.
-module(oracle).
-behaviour(supervisor).

-export([main/0]).
%% Called by the supervisors under test.
-export([init/1, start_supervisor/2, start_worker/2, start_instance/3]).
%% Called by proc_lib.
-export([worker_init/4]).

%% Scenarios that run at the same time; those asleep do not count.
-define(RUNNING_MAX, 24).
-define(LINE_BYTES_MAX, 4194304).
%% No tree of a valid scenario needs longer to come to rest.
-define(QUIET_MS_MAX, 30000).
%% The stretch between two sleeps must be shorter than one second, or a period of one second may or may
%% not have passed. A scenario whose stretch was longer (a busy machine) is run again.
-define(STRETCH_MS_MAX, 950).
-define(RUNS_MAX, 50).

-record(context, {recorder, sup}).
-record(proc, {id, n, kind, sup_pid, sup, instance = false, started = true}).

%%% ---------------------------------------------------------------------------------------------
%%% main: lines in, traces out, in order
%%% ---------------------------------------------------------------------------------------------

main() ->
    ok = logger:set_primary_config(level, none),
    Port = open_port({fd, 0, 1}, [binary, eof, {line, ?LINE_BYTES_MAX}]),
    main_loop(#{port => Port, partial => [], waiting => queue:new(), running => 0, in => 0, out => 0,
                finished => #{}, monitors => #{}, eof => false}).

main_loop(#{eof := true, in := Same, out := Same}) ->
    halt(0);
main_loop(#{port := Port} = State) ->
    receive
        {Port, {data, {noeol, Part}}} ->
            #{partial := Partial} = State,
            main_loop(State#{partial := [Partial, Part]});
        {Port, {data, {eol, Part}}} ->
            #{partial := Partial} = State,
            Line = iolist_to_binary([Partial, Part]),
            main_loop(schedule(accept(Line, State#{partial := []})));
        {Port, eof} ->
            main_loop(State#{eof := true});
        {asleep, _Pid} ->
            #{running := Running} = State,
            main_loop(schedule(State#{running := Running - 1}));
        {awake, _Pid} ->
            #{running := Running} = State,
            main_loop(State#{running := Running + 1});
        {finished, Index, Output} ->
            #{finished := Finished} = State,
            main_loop(print(State#{finished := Finished#{Index => Output}}));
        {'DOWN', Monitor, process, _Pid, Reason} ->
            #{monitors := Monitors, finished := Finished, running := Running} = State,
            {{Index, Seed}, Monitors1} = maps:take(Monitor, Monitors),
            State1 = State#{monitors := Monitors1, running := Running - 1},
            State2 = case Reason of
                         normal ->
                             State1;
                         _ ->
                             Broken = [line(#{<<"broken">> => plain(Reason)}), last_line(Seed)],
                             print(State1#{finished := Finished#{Index => Broken}})
                     end,
            main_loop(schedule(State2))
    end.

accept(<<"{", _/binary>> = Line, #{waiting := Waiting, in := In} = State) ->
    State#{waiting := queue:in({In, Line}, Waiting), in := In + 1};
accept(_, State) ->
    State.

schedule(#{running := Running, waiting := Waiting, monitors := Monitors} = State)
  when Running < ?RUNNING_MAX ->
    case queue:out(Waiting) of
        {empty, _} ->
            State;
        {{value, {Index, Line}}, Rest} ->
            Main = self(),
            Scenario = #{<<"seed">> := Seed} = json_read(Line),
            {_, Monitor} = spawn_monitor(fun() -> drive(Main, Index, Scenario) end),
            schedule(State#{waiting := Rest, running := Running + 1,
                            monitors := Monitors#{Monitor => {Index, Seed}}})
    end;
schedule(State) ->
    State.

print(#{port := Port, finished := Finished, out := Out} = State) ->
    case maps:take(Out, Finished) of
        {Output, Rest} ->
            try port_command(Port, Output)
            catch error:badarg -> halt(1) % nobody reads any more
            end,
            print(State#{finished := Rest, out := Out + 1});
        error ->
            State
    end.

line(Map) -> [json_write(Map), $\n].

last_line(Seed) -> line(#{<<"end">> => Seed}).

%%% ---------------------------------------------------------------------------------------------
%%% driver: one scenario
%%% ---------------------------------------------------------------------------------------------

drive(Main, Index, Scenario) ->
    process_flag(trap_exit, true),
    #{<<"seed">> := Seed} = Scenario,
    Lines = drive_in_time(Main, Scenario, 1),
    Main ! {finished, Index, [Lines, last_line(Seed)]}.

drive_in_time(Main, Scenario, Run) ->
    case run(Main, Scenario) of
        {ok, Lines} -> Lines;
        too_slow when Run < ?RUNS_MAX -> drive_in_time(Main, Scenario, Run + 1);
        too_slow -> exit({machine_too_slow_for_a_period_of_one_second, ?RUNS_MAX})
    end.

run(Main, #{<<"tree">> := Tree, <<"ops">> := Ops}) ->
    Driver = self(),
    Recorder = spawn_link(fun() -> recorder(Driver) end),
    Started = start_supervisor(#context{recorder = Recorder}, Tree),
    {Root, Result} =
        case Started of
            {ok, Pid} -> {Pid, <<"ok">>};
            {error, Reason} -> {{failed, reason(Reason)}, start_failed(Reason)}
        end,
    Scene = #{main => Main, recorder => Recorder, root => Root, root_id => maps:get(<<"id">>, Tree),
              short => has_short_period(Tree, Ops), since => now_ms()},
    First = trace(-1, Result, Scene),
    Outcome = run_ops(Ops, 0, Scene, [First]),
    clean_up(Recorder),
    flush_exits(),
    Outcome.

run_ops([], _, Scene, Lines) ->
    case in_time(Scene) of
        true -> {ok, lists:reverse(Lines)};
        false -> too_slow
    end;
run_ops([#{<<"op">> := <<"sleep">>, <<"ms">> := Ms} | Ops], Index, Scene, Lines) ->
    #{main := Main, root := Root} = Scene,
    case in_time(Scene) of
        false ->
            too_slow;
        true ->
            case is_running(Root) of
                true ->
                    Main ! {asleep, self()},
                    timer:sleep(Ms),
                    Main ! {awake, self()};
                false ->
                    ok
            end,
            Line = trace(Index, <<"ok">>, Scene),
            run_ops(Ops, Index + 1, Scene#{since := now_ms()}, [Line | Lines])
    end;
run_ops([Op | Ops], Index, Scene, Lines) ->
    Result = perform(Op, Scene),
    Line = trace(Index, Result, Scene),
    run_ops(Ops, Index + 1, Scene, [Line | Lines]).

in_time(#{short := false}) -> true;
in_time(#{root := Root, since := Since}) ->
    not is_running(Root) orelse now_ms() - Since < ?STRETCH_MS_MAX.

now_ms() -> erlang:monotonic_time(millisecond).

is_running(Root) -> is_pid(Root) andalso is_process_alive(Root).

has_short_period(Tree, Ops) ->
    short_period(Tree) orelse
        lists:any(fun(#{<<"child">> := Child}) -> short_period(Child);
                     (_) -> false
                  end, Ops).

short_period(#{<<"period">> := Period, <<"children">> := Children}) ->
    Period < 3600 orelse lists:any(fun short_period/1, Children);
short_period(_) ->
    false.

perform(#{<<"op">> := <<"stop_root">>}, #{root := Root, recorder := Recorder}) ->
    case is_running(Root) of
        true ->
            %% The driver is the root's parent: this is how a supervisor is shut down.
            exit(Root, shutdown),
            await_dead(Recorder, Root),
            <<"ok">>;
        false ->
            <<"noproc">>
    end;
perform(#{<<"op">> := <<"exit">>, <<"id">> := Id, <<"reason">> := Reason}, #{recorder := Recorder}) ->
    case {ask(Recorder, {lookup, Id}), Reason} of
        {{ok, Pid, _Proc}, <<"kill">>} ->
            exit(Pid, kill),
            await_dead(Recorder, Pid),
            <<"ok">>;
        {{ok, Pid, #proc{kind = worker}}, _} ->
            Pid ! {end_by_itself, exit_reason(Reason)},
            await_dead(Recorder, Pid),
            <<"ok">>;
        _ ->
            <<"noproc">>
    end;
perform(#{<<"sup">> := Sup} = Op, #{recorder := Recorder}) ->
    case ask(Recorder, {lookup, Sup}) of
        {ok, Pid, #proc{kind = supervisor}} ->
            case request(Op, Recorder, Pid) of
                unknown_child ->
                    <<"unknown_child">>;
                Request ->
                    try gen_server:call(Pid, Request, infinity) of
                        Reply -> result(Op, Reply, Pid, names(Recorder))
                    catch
                        exit:_ -> <<"noproc">>
                    end
            end;
        _ ->
            <<"noproc">>
    end.

%% The message behind each function of `supervisor`, so that a worker's init can put it into the queue
%% of a supervisor without waiting. `supervisor` itself sends exactly this through gen_server:call/3.
request(#{<<"op">> := <<"start_child">>, <<"args">> := Args}, _, _) ->
    {start_child, [Args]};
request(#{<<"op">> := <<"start_child">>, <<"child">> := Child}, Recorder, Sup) ->
    #proc{id = SupId} = maps:get(Sup, names(Recorder)),
    {start_child, child_spec(#context{recorder = Recorder, sup = SupId}, Child)};
request(#{<<"op">> := <<"which_children">>}, _, _) -> which_children;
request(#{<<"op">> := <<"count_children">>}, _, _) -> count_children;
request(#{<<"op">> := Name, <<"id">> := Id}, Recorder, Sup) ->
    case ask(Recorder, {child, Sup, Id}) of
        unknown_child -> unknown_child;
        {ok, Child} -> {binary_to_existing_atom(Name), Child}
    end.

exit_reason(<<"normal">>) -> normal;
exit_reason(<<"shutdown">>) -> shutdown;
exit_reason(<<"shutdown:", Term/binary>>) -> {shutdown, Term};
exit_reason(<<"crash">>) -> crash.

await_dead(Recorder, Pid) ->
    ok = ask(Recorder, {await_dead, Pid}).

clean_up(Recorder) ->
    ok = ask(Recorder, destroy),
    unlink(Recorder),
    exit(Recorder, kill).

flush_exits() ->
    receive
        {'EXIT', _, _} -> flush_exits()
    after 0 -> ok
    end.

%%% Trace lines.

trace(Index, Result, #{recorder := Recorder, root := Root, root_id := RootId}) ->
    Tree = await_quiet(Recorder, Root, RootId, now_ms() + ?QUIET_MS_MAX, 0),
    {Events, Stops, Downs, Calls, RootReason} = ask(Recorder, take),
    RootState = case Root of
                    {failed, Reason} -> Reason;
                    _ -> RootReason
                end,
    line(#{<<"op">> => Index, <<"result">> => Result, <<"events">> => Events,
           <<"stops">> => lists:sort(Stops), <<"downs">> => lists:sort(Downs),
           <<"calls">> => lists:sort(Calls), <<"root">> => RootState, <<"tree">> => Tree}).

%%% ---------------------------------------------------------------------------------------------
%%% quiescence
%%%
%%% The tree rests when every supervisor reached from the root answers which_children, no child is
%%% `restarting`, the processes listed are exactly the processes recorded as running, all of them alive,
%%% no queued call is unanswered, and nothing was recorded from before the walk to after it. An exit
%%% that a supervisor has not handled yet is a process that is listed but dead, a start or a stop under
%%% way keeps a supervisor from answering or is recorded, an orphan runs without being listed: so none
%%% of them can hide. The walk must succeed twice in a row.
%%% ---------------------------------------------------------------------------------------------

await_quiet(Recorder, Root, RootId, Deadline, Attempt) ->
    case walk_twice(Recorder, Root, RootId) of
        {ok, Tree} ->
            Tree;
        Why ->
            case now_ms() > Deadline of
                true -> exit({never_quiet, Why});
                false -> ok
            end,
            if
                Attempt < 5 -> erlang:yield();
                Attempt < 20 -> timer:sleep(1);
                true -> timer:sleep(3)
            end,
            await_quiet(Recorder, Root, RootId, Deadline, Attempt + 1)
    end.

walk_twice(Recorder, Root, RootId) ->
    case walk(Recorder, Root, RootId) of
        {ok, Sequence, Tree} ->
            case walk(Recorder, Root, RootId) of
                {ok, Sequence, Tree} -> {ok, Tree};
                {ok, _, _} -> changed;
                Why -> Why
            end;
        Why ->
            Why
    end.

walk(Recorder, Root, RootId) ->
    {Sequence, Running, Names, Pending} = ask(Recorder, status),
    try
        Pending =:= 0 orelse throw(call_pending),
        {Tree, Listed} =
            case is_running(Root) of
                true -> walk_supervisor(Root, RootId, Names, #{}, #{Root => true});
                false -> {#{}, #{}}
            end,
        lists:sort(maps:keys(Listed)) =:= lists:sort(Running) orelse throw(listed_are_not_running),
        lists:all(fun is_process_alive/1, Running) orelse throw(dead_not_seen),
        {SequenceAfter, _, _, _} = ask(Recorder, status),
        SequenceAfter =:= Sequence orelse throw(recorded_meanwhile),
        {ok, Sequence, Tree}
    catch
        throw:Why -> Why
    end.

walk_supervisor(Pid, Id, Names, Tree, Listed) ->
    Children = try supervisor:which_children(Pid)
               catch exit:_ -> throw(supervisor_does_not_answer)
               end,
    lists:all(fun({_, Child, _, _}) -> not is_pid(Child) orelse is_map_key(Child, Names) end, Children)
        orelse throw(started_meanwhile),
    Tree1 = Tree#{Id => children(Children, Pid, Names)},
    lists:foldl(
      fun({_, restarting, _, _}, _) ->
              throw(child_is_restarting);
         ({_, undefined, _, _}, Acc) ->
              Acc;
         ({ChildId, Child, Type, _}, {T, L}) ->
              is_process_alive(Child) orelse throw(listed_is_dead),
              L1 = L#{Child => true},
              case Type of
                  supervisor -> walk_supervisor(Child, ChildId, Names, T, L1);
                  worker -> {T, L1}
              end
      end, {Tree1, Listed}, Children).

%%% ---------------------------------------------------------------------------------------------
%%% results as JSON
%%% ---------------------------------------------------------------------------------------------

result(#{<<"op">> := <<"which_children">>}, Reply, Sup, Names) ->
    children(Reply, Sup, Names);
result(#{<<"op">> := <<"count_children">>}, Reply, _, _) ->
    maps:from_list([{atom_to_binary(Key), Value} || {Key, Value} <- Reply]);
result(#{<<"op">> := <<"get_childspec">>}, {ok, Spec}, _, _) ->
    #{id := Id, type := Type, restart := Restart, shutdown := Shutdown, significant := Significant} = Spec,
    #{<<"ok">> => #{<<"id">> => Id, <<"type">> => atom_to_binary(Type),
                    <<"restart">> => atom_to_binary(Restart), <<"significant">> => Significant,
                    <<"shutdown">> => if is_atom(Shutdown) -> atom_to_binary(Shutdown); true -> Shutdown end}};
result(_, ok, _, _) -> <<"ok">>;
result(_, {ok, undefined}, _, _) -> #{<<"ok">> => null};
result(_, {ok, Pid}, _, Names) when is_pid(Pid) -> #{<<"ok">> => handle(Pid, Names)};
result(_, {error, {already_started, Pid}}, _, Names) ->
    [Id, N] = handle(Pid, Names),
    error_result([<<"already_started">>, Id, N]);
result(_, {error, {bad_combination, _}}, _, _) -> error_result(<<"bad_combination">>);
result(_, {error, Reason}, _, _)
  when Reason =:= already_present; Reason =:= not_found; Reason =:= running; Reason =:= restarting;
       Reason =:= simple_one_for_one ->
    error_result(atom_to_binary(Reason));
%% start_child adds the child's record to the reason, except under simple_one_for_one.
result(_, {error, {Reason, Child}}, _, _) when element(1, Child) =:= child -> start_failed(Reason);
result(_, {error, Reason}, _, _) -> start_failed(Reason).

start_failed(Reason) -> error_result([<<"start_failed">>, reason(Reason)]).

error_result(Error) -> #{<<"error">> => Error}.

handle(Pid, Names) ->
    #proc{id = Id, n = N} = maps:get(Pid, Names),
    [Id, N].

%% Instances have no id for the supervisor (`undefined`): theirs is found by pid. An instance that is
%% `restarting` has no pid either: it is one whose latest start failed.
children([{undefined, _, _, _} | _] = Children, Sup, Names) ->
    Alive = [child(Child, Names) || {_, Pid, _, _} = Child <- Children, is_pid(Pid)],
    Restarting = length(Children) - length(Alive),
    Failed = maps:get({failed, Sup}, Names, []),
    Ids = case length(Failed) of
              Restarting -> Failed;
              _ -> lists:duplicate(Restarting, <<"?">>)
          end,
    lists:sort(Alive ++ [[Id, <<"worker">>, <<"restarting">>, null] || Id <- Ids]);
children(Children, _, Names) ->
    [child(Child, Names) || Child <- Children].

child({undefined, Pid, Type, _}, Names) when is_pid(Pid) ->
    [Id, N] = handle(Pid, Names),
    [Id, atom_to_binary(Type), <<"alive">>, N];
child({Id, Pid, Type, _}, Names) when is_pid(Pid) ->
    [Id, N] = handle(Pid, Names),
    [Id, atom_to_binary(Type), <<"alive">>, N];
child({Id, State, Type, _}, _) ->
    [Id, atom_to_binary(Type), atom_to_binary(State), null].

reason({shutdown, {failed_to_start_child, _, _} = Failed}) -> reason(Failed);
reason({failed_to_start_child, Id, Reason}) ->
    iolist_to_binary(["failed_to_start_child(", Id, ",", reason(Reason), ")"]);
reason({start_spec, {Why, _}}) -> iolist_to_binary(["start_spec:", atom_to_binary(Why)]);
reason({shutdown, Term}) when is_binary(Term) -> <<"shutdown:", Term/binary>>;
reason(Reason) when is_atom(Reason) -> atom_to_binary(Reason);
reason(Reason) -> plain(Reason).

%% Any term as a string that needs no escapes.
plain(Term) ->
    << <<(case C of $" -> $'; $\\ -> $/; _ when C < 32; C > 126 -> $ ; _ -> C end)>>
       || <<C>> <= iolist_to_binary(io_lib:format("~0p", [Term])) >>.

%%% ---------------------------------------------------------------------------------------------
%%% supervisors and workers
%%% ---------------------------------------------------------------------------------------------

%% Runs in the parent: another supervisor, or the driver for the root.
start_supervisor(#context{recorder = Recorder, sup = Parent}, Spec) ->
    Start = make_ref(),
    Result = supervisor:start_link(?MODULE, {Recorder, Start, self(), Parent, Spec}),
    ok = ask(Recorder, {supervisor_start_over, Start, element(1, Result)}),
    Result.

%% Runs in the new supervisor, before its specs are checked and its children started.
init({Recorder, Start, ParentPid, Parent, Spec}) ->
    #{<<"id">> := Id, <<"strategy">> := Strategy, <<"intensity">> := Intensity, <<"period">> := Period,
      <<"auto_shutdown">> := AutoShutdown, <<"children">> := Children} = Spec,
    Template = case {Strategy, Children} of
                   {<<"simple_one_for_one">>, [#{<<"id">> := TemplateId}]} -> TemplateId;
                   _ -> none
               end,
    ok = ask(Recorder, {supervisor_start, Start, self(), Id, ParentPid, Parent, Template}),
    Context = #context{recorder = Recorder, sup = Id},
    Flags = #{strategy => binary_to_existing_atom(Strategy), intensity => Intensity, period => Period,
              auto_shutdown => binary_to_existing_atom(AutoShutdown)},
    Specs = case Strategy of
                <<"simple_one_for_one">> ->
                    [(common(Child))#{start => {?MODULE, start_instance, [Context, Child]}} || Child <- Children];
                _ ->
                    [child_spec(Context, Child) || Child <- Children]
            end,
    {ok, {Flags, Specs}}.

child_spec(Context, #{<<"type">> := <<"worker">>} = Child) ->
    (common(Child))#{start => {?MODULE, start_worker, [Context, Child]}};
child_spec(Context, #{<<"type">> := <<"supervisor">>} = Child) ->
    (common(Child))#{start => {?MODULE, start_supervisor, [Context, Child]}}.

common(#{<<"id">> := Id, <<"type">> := Type, <<"restart">> := Restart, <<"shutdown">> := Shutdown,
         <<"significant">> := Significant}) ->
    #{id => Id, type => binary_to_existing_atom(Type), restart => binary_to_existing_atom(Restart),
      significant => Significant, modules => [?MODULE],
      shutdown => if
                      is_integer(Shutdown) -> Shutdown;
                      true -> binary_to_existing_atom(Shutdown)
                  end}.

start_worker(Context, Child) ->
    proc_lib:start_link(?MODULE, worker_init, [Context, Child, self(), false]).

start_instance(Context, Template, Args) ->
    proc_lib:start_link(?MODULE, worker_init, [Context, maps:merge(Template, Args), self(), true]).

worker_init(#context{recorder = Recorder, sup = Sup}, Child, Parent, Instance) ->
    #{<<"id">> := Id, <<"trap_exit">> := Trap, <<"init">> := Init} = Child,
    process_flag(trap_exit, Trap),
    {N, Outcome} = ask(Recorder, {worker_start, self(), Id, Init, Parent, Sup, Instance}),
    side_effect(Outcome, Recorder, Parent, Id, N),
    case out(Outcome) of
        <<"ok">> ->
            proc_lib:init_ack(Parent, {ok, self()}),
            worker(#{recorder => Recorder, parent => Parent, child => Child});
        <<"error">> ->
            %% proc_lib:start_link returns {error, init_error} once this process is gone.
            exit(init_error);
        <<"ignore">> ->
            unlink(Parent),
            proc_lib:init_ack(Parent, ignore)
    end.

out(#{<<"out">> := Out}) -> Out;
out(Out) -> Out.

side_effect(#{<<"kill">> := Victim}, Recorder, _, _, _) ->
    kill(Victim, Recorder);
side_effect(#{<<"call">> := Op}, Recorder, Parent, Id, N) ->
    case request(Op, Recorder, Parent) of
        unknown_child ->
            ok = ask(Recorder, {call_answered, Id, N, Op, Parent, unknown_child});
        Request ->
            Tag = make_ref(),
            Self = self(),
            Waiter = spawn(fun() ->
                                   Monitor = monitor(process, Parent),
                                   Self ! {Tag, monitored},
                                   receive
                                       {Tag, Reply} -> ok;
                                       {'DOWN', Monitor, process, _, _} -> Reply = noproc
                                   end,
                                   ask(Recorder, {call_answered, Id, N, Op, Parent, Reply})
                           end),
            receive {Tag, monitored} -> ok end,
            %% Sent from here: signals from one process to another keep their order, so that the call is
            %% in the supervisor's queue before the end of this start is.
            Parent ! {'$gen_call', {Waiter, Tag}, Request}
    end,
    ok;
side_effect(_, _, _, _, _) ->
    ok.

%% The victim is dead, and its supervisor has its exit, when this returns: otherwise the exit could
%% overtake, or be overtaken by, what this process causes next.
kill(Victim, Recorder) ->
    case ask(Recorder, {lookup, Victim}) of
        {ok, Pid, #proc{kind = worker, sup_pid = Sup}} when Pid =/= self() ->
            Monitor = monitor(process, Pid),
            exit(Pid, kill),
            receive {'DOWN', Monitor, process, _, _} -> ok end,
            await_unlinked(Pid, Sup);
        _ ->
            ok
    end.

await_unlinked(Pid, Sup) ->
    case process_info(Sup, links) of
        {links, Links} ->
            case lists:member(Pid, Links) of
                true -> erlang:yield(), await_unlinked(Pid, Sup);
                false -> ok
            end;
        undefined ->
            ok
    end.

worker(#{parent := Parent, recorder := Recorder, child := Child} = State) ->
    Stubborn = maps:get(<<"stubborn">>, Child),
    receive
        {end_by_itself, Reason} ->
            stop_hook(Reason, State),
            exit(Reason);
        {'EXIT', Parent, killed} ->
            %% The supervisor was killed: this is an orphan.
            stop_hook(killed, State),
            exit(killed);
        {'EXIT', Parent, _} when Stubborn ->
            worker(State);
        {'EXIT', Parent, Reason} ->
            stop_hook(Reason, State),
            case Child of
                #{<<"on_stop_kill">> := Victim} -> kill(Victim, Recorder);
                _ -> ok
            end,
            exit(Reason)
    end.

stop_hook(Reason, #{recorder := Recorder, child := #{<<"trap_exit">> := true}}) ->
    ok = ask(Recorder, {stop, self(), Reason});
stop_hook(_, _) ->
    ok.

%%% ---------------------------------------------------------------------------------------------
%%% recorder
%%% ---------------------------------------------------------------------------------------------

ask(Recorder, Request) ->
    Monitor = monitor(process, Recorder),
    Recorder ! {ask, {self(), Monitor}, Request},
    receive
        {Monitor, Reply} ->
            demonitor(Monitor, [flush]),
            Reply;
        {'DOWN', Monitor, process, _, Reason} ->
            exit({recorder, Reason})
    end.

answer({Pid, Tag}, Reply) -> Pid ! {Tag, Reply}.

names(Recorder) -> element(3, ask(Recorder, status)).

recorder(Driver) ->
    process_flag(trap_exit, true),
    recorder_loop(#{driver => Driver, sequence => 0, attempts => #{}, names => #{}, running => #{},
                    handles => #{}, starts => #{}, limbo => #{}, waiters => [], pending => 0,
                    events => [], stops => [], downs => [], calls => [], root => none,
                    root_reason => <<"alive">>, simple => #{}, destroyer => none}).

recorder_loop(#{sequence := Sequence} = State) ->
    receive
        {ask, From, Request} ->
            recorder_loop(recorder_ask(Request, From, State));
        {'DOWN', _Monitor, process, Pid, Reason} ->
            recorder_loop(seen_dead(Pid, Reason, State#{sequence := Sequence + 1}));
        {'EXIT', Driver, Reason} when Driver =:= map_get(driver, State) ->
            exit(Reason);
        {'EXIT', _, _} ->
            recorder_loop(State)
    end.

recorder_ask(status, From, State) ->
    #{sequence := Sequence, running := Running, names := Names, pending := Pending} = State,
    answer(From, {Sequence, maps:keys(Running), Names, Pending}),
    State;
recorder_ask(take, From, State) ->
    #{events := Events, stops := Stops, downs := Downs, calls := Calls, root_reason := RootReason} = State,
    answer(From, {lists:reverse(Events), Stops, Downs, Calls, RootReason}),
    State#{events := [], stops := [], downs := [], calls := []};
recorder_ask({lookup, Id}, From, #{running := Running} = State) ->
    Found = [{N, Pid, Proc} || {Pid, #proc{id = I, n = N} = Proc} <- maps:to_list(Running), I =:= Id,
                               is_process_alive(Pid)],
    answer(From, case lists:sort(Found) of
                     [] -> none;
                     Sorted -> {_, Pid, Proc} = lists:last(Sorted), {ok, Pid, Proc}
                 end),
    State;
recorder_ask({child, Sup, Id}, From, State) ->
    #{simple := Simple, names := Names, handles := Handles} = State,
    answer(From, case Simple of
                     #{Sup := Template} when Template =/= Id ->
                         %% The same supervisor id, in this or an earlier incarnation.
                         #proc{id = SupId} = maps:get(Sup, Names),
                         case Handles of
                             #{{SupId, Id} := Pid} -> {ok, Pid};
                             _ -> unknown_child
                         end;
                     _ ->
                         {ok, Id}
                 end),
    State;
recorder_ask({await_dead, Pid}, From, #{running := Running, waiters := Waiters} = State) ->
    case Running of
        #{Pid := _} ->
            State#{waiters := [{Pid, From} | Waiters]};
        _ ->
            answer(From, ok),
            State
    end;
recorder_ask({worker_start, Pid, Id, Init, SupPid, Sup, Instance}, From, State) ->
    {N, State1} = attempt(Id, State),
    Outcome = lists:nth(min(N, length(Init)), Init),
    #{names := Names, running := Running, handles := Handles, pending := Pending} = State1,
    Proc = #proc{id = Id, n = N, kind = worker, sup_pid = SupPid, sup = Sup, instance = Instance},
    Out = out(Outcome),
    State2 = event([<<"start">>, Id, N, Out], State1),
    State3 = case Outcome of
                 #{<<"call">> := _} -> State2#{pending := Pending + 1};
                 _ -> State2
             end,
    State4 = case Out of
                 <<"ok">> ->
                     monitor(process, Pid),
                     State3#{names := failed(fun(F) -> F -- [Id] end, SupPid, Names#{Pid => Proc}),
                             running := Running#{Pid => Proc},
                             handles := Handles#{{Sup, Id} => Pid}};
                 <<"error">> when Instance, is_map_key({Sup, Id}, Handles) ->
                     State3#{names := failed(fun(F) -> lists:usort([Id | F]) end, SupPid, Names)};
                 _ ->
                     State3
             end,
    answer(From, {N, Outcome}),
    destroy_new(State4);
recorder_ask({supervisor_start, Start, Pid, Id, ParentPid, Parent, Template}, From, State) ->
    {N, State1} = attempt(Id, State),
    #{names := Names, running := Running, starts := Starts, simple := Simple, root := Root} = State1,
    Proc = #proc{id = Id, n = N, kind = supervisor, sup_pid = ParentPid, sup = Parent, started = false},
    monitor(process, Pid),
    answer(From, ok),
    State2 = event([<<"start">>, Id, N, <<"sup">>], State1),
    destroy_new(State2#{names := Names#{Pid => Proc}, running := Running#{Pid => Proc},
                        starts := Starts#{Start => Pid},
                        simple := case Template of
                                      none -> Simple;
                                      _ -> Simple#{Pid => Template}
                                  end,
                        root := case Root of none -> Pid; _ -> Root end});
recorder_ask({supervisor_start_over, Start, Result}, From, State) ->
    #{starts := Starts, names := Names, running := Running, limbo := Limbo, sequence := Sequence} = State,
    {Pid, Starts1} = maps:take(Start, Starts),
    #{Pid := Proc} = Names,
    State1 = State#{starts := Starts1, names := Names#{Pid := Proc#proc{started = true}},
                    sequence := Sequence + 1},
    answer(From, ok),
    case {Result, Limbo, Running} of
        {ok, #{Pid := Reason}, _} ->
            woken(Pid, down(Proc, Reason, State1#{limbo := maps:remove(Pid, Limbo)}, Pid));
        {ok, _, #{Pid := _}} ->
            State1#{running := Running#{Pid := Proc#proc{started = true}}};
        {error, _, _} ->
            woken(Pid, State1#{limbo := maps:remove(Pid, Limbo), running := maps:remove(Pid, Running)})
    end;
recorder_ask({stop, Pid, Reason}, From, #{names := Names, stops := Stops, sequence := Sequence} = State) ->
    #{Pid := #proc{id = Id, n = N, instance = Instance}} = Names,
    answer(From, ok),
    case Instance orelse Reason =:= killed of
        true -> State#{stops := [[Id, N, reason(Reason)] | Stops], sequence := Sequence + 1};
        false -> event([<<"stop">>, Id, N, reason(Reason)], State)
    end;
recorder_ask({call_answered, Id, N, #{<<"op">> := Name} = Op, Sup, Reply}, From, State) ->
    #{calls := Calls, pending := Pending, sequence := Sequence, names := Names0} = State,
    %% Terminated while `restarting`, if it was.
    Names = case {Op, Reply} of
                {#{<<"op">> := <<"terminate_child">>, <<"id">> := Child}, ok} ->
                    failed(fun(F) -> F -- [Child] end, Sup, Names0);
                _ ->
                    Names0
            end,
    Result = case Reply of
                 noproc -> <<"noproc">>;
                 unknown_child -> <<"unknown_child">>;
                 _ -> result(Op, Reply, Sup, Names)
             end,
    answer(From, ok),
    State#{names := Names, calls := [[Id, N, Name, Result] | Calls], pending := Pending - 1, sequence := Sequence + 1};
recorder_ask(destroy, From, State) ->
    destroy_new(State#{destroyer := From}).

attempt(Id, #{attempts := Attempts} = State) ->
    N = maps:get(Id, Attempts, 0) + 1,
    {N, State#{attempts := Attempts#{Id => N}}}.

event(Event, #{events := Events, sequence := Sequence} = State) ->
    State#{events := [Event | Events], sequence := Sequence + 1}.

failed(Change, Sup, Names) ->
    Names#{{failed, Sup} => Change(maps:get({failed, Sup}, Names, []))}.

seen_dead(Pid, Reason, #{running := Running} = State) ->
    case maps:take(Pid, Running) of
        {#proc{started = false}, Running1} ->
            #{limbo := Limbo} = State,
            State#{running := Running1, limbo := Limbo#{Pid => Reason}};
        {Proc, Running1} ->
            woken(Pid, down(Proc, Reason, State#{running := Running1}, Pid));
        error ->
            State
    end.

down(#proc{id = Id, n = N}, Reason, #{downs := Downs, root := Root} = State, Pid) ->
    State1 = State#{downs := [[Id, N, reason(Reason)] | Downs]},
    case Pid of
        Root -> State1#{root_reason := reason(Reason)};
        _ -> State1
    end.

woken(Pid, #{waiters := Waiters, running := Running, destroyer := Destroyer} = State) ->
    {Mine, Others} = lists:partition(fun({P, _}) -> P =:= Pid end, Waiters),
    [answer(From, ok) || {_, From} <- Mine],
    case Destroyer of
        {_, _} when map_size(Running) =:= 0 -> answer(Destroyer, ok);
        _ -> ok
    end,
    State#{waiters := Others}.

%% Supervisors first, so that none of them restarts what is killed next; what they started meanwhile
%% reports here and is killed on arrival.
destroy_new(#{destroyer := none} = State) ->
    State;
destroy_new(#{destroyer := From, running := Running} = State) ->
    Procs = maps:to_list(Running),
    [exit(Pid, kill) || {Pid, #proc{kind = supervisor}} <- Procs],
    [exit(Pid, kill) || {Pid, #proc{kind = worker}} <- Procs],
    case Procs of
        [] -> answer(From, ok);
        _ -> ok
    end,
    State.

%%% ---------------------------------------------------------------------------------------------
%%% JSON: objects are maps with binary keys, strings are binaries without escapes
%%% ---------------------------------------------------------------------------------------------

json_read(Binary) ->
    {Value, _Rest} = value(blank(Binary)),
    Value.

value(<<"{", Rest/binary>>) -> object(blank(Rest), #{});
value(<<"[", Rest/binary>>) -> array(blank(Rest), []);
value(<<"\"", Rest/binary>>) ->
    [String, Rest1] = binary:split(Rest, <<"\"">>),
    {String, Rest1};
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<"null", Rest/binary>>) -> {null, Rest};
value(<<"-", Rest/binary>>) ->
    {Number, Rest1} = number(Rest, 0),
    {-Number, Rest1};
value(<<C, _/binary>> = Rest) when C >= $0, C =< $9 -> number(Rest, 0).

number(<<C, Rest/binary>>, Number) when C >= $0, C =< $9 -> number(Rest, Number * 10 + C - $0);
number(Rest, Number) -> {Number, Rest}.

object(<<"}", Rest/binary>>, Map) -> {Map, Rest};
object(<<",", Rest/binary>>, Map) -> object(blank(Rest), Map);
object(<<"\"", _/binary>> = Binary, Map) ->
    {Key, Rest} = value(Binary),
    <<":", Rest1/binary>> = blank(Rest),
    {Value, Rest2} = value(blank(Rest1)),
    object(blank(Rest2), Map#{Key => Value}).

array(<<"]", Rest/binary>>, List) -> {lists:reverse(List), Rest};
array(<<",", Rest/binary>>, List) -> array(blank(Rest), List);
array(Binary, List) ->
    {Value, Rest} = value(Binary),
    array(blank(Rest), [Value | List]).

blank(<<C, Rest/binary>>) when C =:= $ ; C =:= $\t; C =:= $\r; C =:= $\n -> blank(Rest);
blank(Rest) -> Rest.

json_write(Map) when is_map(Map) ->
    [${, lists:join($,, [[$", Key, $", $:, json_write(Value)] || {Key, Value} <- lists:sort(maps:to_list(Map))]), $}];
json_write(List) when is_list(List) -> [$[, lists:join($,, [json_write(Value) || Value <- List]), $]];
json_write(Binary) when is_binary(Binary) -> [$", Binary, $"];
json_write(Integer) when is_integer(Integer) -> integer_to_binary(Integer);
json_write(Atom) when Atom =:= true; Atom =:= false; Atom =:= null -> atom_to_binary(Atom).
