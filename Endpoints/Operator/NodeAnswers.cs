using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>Answers the operator's questions, and executes the operator's commands, on this node.</summary>
internal sealed class NodeAnswers(
    SessionTable sessions,
    RoomTable rooms,
    SocketBroker broker,
    Drain drain,
    BackplaneState backplane,
    StatsSampler stats,
    ICluster cluster,
    TimeProvider time
)
{
    private readonly DateTimeOffset _started = time.GetUtcNow();

    /// <summary>Name of the question for the node's state.</summary>
    public const string Node = "node";

    /// <summary>Name of the question for sessions.</summary>
    public const string Sessions = "sessions";

    /// <summary>Name of the question for the next lines of a stream of all sessions.</summary>
    public const string Lines = "lines";

    /// <summary>Argument of the question for the node's state: its sessions are counted by transport.</summary>
    public const string Transports = "transports";

    /// <summary>Name of the question for rooms.</summary>
    public const string Rooms = "rooms";

    /// <summary>Name of the question for the last 15 minutes.</summary>
    public const string Stats = "stats";

    /// <summary>Name of the command to close sessions.</summary>
    public const string Close = "close";

    /// <summary>Name of the command to make a session join or leave.</summary>
    public const string Move = "move";

    /// <summary>Registers the questions and commands.</summary>
    public void AddTo(ClusterQuestions questions)
    {
        questions.Add(Node, asked => Write(Show(asked == Transports), ApiJson.Wire.NodeEntry));
        questions.Add(Sessions, query =>
            ListAsync(() =>
                Bytes(
                    Array.ConvertAll(List(Read(query, ApiJson.Wire.SessionQuery)), Show),
                    ApiJson.Wire.SessionEntryArray
                )
            )
        );
        questions.Add(Lines, query => ListAsync(() => Write(Read(query, ApiJson.Wire.SessionLinesQuery))));
        questions.Add(Rooms, query =>
            ListAsync(() => Bytes(List(Read(query, ApiJson.Wire.RoomQuery)), ApiJson.Wire.RoomEntryArray))
        );
        questions.Add(Stats, _ => Write(stats.Read(), ApiJson.Wire.StatsEntryArray));
        questions.Add(Close, command =>
            Write(Do(Read(command, ApiJson.Wire.CloseCommand)), ApiJson.Wire.CommandAnswer)
        );
        questions.Add(Move, async command =>
            Bytes(await DoAsync(Read(command, ApiJson.Wire.MoveCommand)), ApiJson.Wire.CommandAnswer)
        );
    }

    private NodeEntry Show(bool countsTransports)
    {
        var (publishes, deliveries) = stats.Rates();
        var state =
            drain.IsStopping ? "draining"
            : backplane.Why is null ? "ready"
            : "degraded";
        return new NodeEntry(
            cluster.NodeId,
            BuildInfo.Version,
            _started,
            Environment.MachineName,
            sessions.Count,
            rooms.Count,
            state,
            publishes,
            deliveries,
            countsTransports ? sessions.All.CountBy(session => session.Wire.Transport).ToDictionary() : null
        );
    }

    private Session[] List(SessionQuery query)
    {
        var page = new Page<Session, SessionKey>(query.Limit, SessionKey.NewestFirst);
        var after = SessionKey.Parse(query.After);
        foreach (var session in sessions.All)
        {
            var key = new SessionKey(session.Since.UtcTicks, session.Id);
            if ((after is null || SessionKey.NewestFirst.Compare(key, after.Value) > 0) && Fits(session, query))
            {
                page.Add(session, key);
            }
        }

        return page.ToArray();
    }

    /// <summary>Answers the question for lines (<see cref="SessionLines"/>).</summary>
    private byte[] Write(SessionLinesQuery query)
    {
        var filter = query.Filter;
        if (query.Nodes is { } nodes)
        {
            if (!nodes.TryGetValue(cluster.NodeId, out var from))
            {
                return SessionLines.Write(cluster.NodeId, [], Show);
            }

            filter = filter with { After = from.After, Limit = from.Limit };
        }

        return SessionLines.Write(cluster.NodeId, List(filter), Show);
    }

    private static bool Fits(Session session, SessionQuery query)
    {
        if (query.Room is not null)
        {
            lock (session.Memberships)
            {
                if (!session.Memberships.ContainsKey(query.Room))
                {
                    return false;
                }
            }
        }

        return (query.User is null || session.Caller.Name == query.User)
            && (query.Address is null || AddressOf(session) == query.Address);
    }

    private static string? AddressOf(Session session) =>
        session.Address is { IsIPv4MappedToIPv6: true } mapped
            ? mapped.MapToIPv4().ToString()
            : session.Address?.ToString();

    private SessionEntry Show(Session session)
    {
        string[] names;
        lock (session.Memberships)
        {
            names = [.. session.Memberships.Keys.Where(room => Names.IsRoom(room))];
        }

        Array.Sort(names, StringComparer.Ordinal);
        return new SessionEntry(
            session.Id,
            session.Caller.Name.Length > 0 ? session.Caller.Name : null,
            cluster.NodeId,
            AddressOf(session),
            session.Wire.Transport,
            session.Agent,
            session.Since,
            names,
            session.Queued,
            session.Received,
            session.Delivered
        );
    }

    /// <summary>Lists rooms by name; rooms that clients cannot join are left out.</summary>
    private RoomEntry[] List(RoomQuery query)
    {
        var page = new Page<Room, string>(query.Limit, StringComparer.Ordinal);
        foreach (var room in rooms.All)
        {
            if (
                room.Name.StartsWith(query.Prefix, StringComparison.Ordinal)
                && Names.IsRoom(room.Name)
                && (query.After is null || string.CompareOrdinal(room.Name, query.After) > 0)
            )
            {
                page.Add(room, room.Name);
            }
        }

        return Array.ConvertAll(page.ToArray(), static room => new RoomEntry(room.Name, room.Count));
    }

    private CommandAnswer Do(CloseCommand command)
    {
        var reason = CloseReason.Kicked(command.Code, command.Reason);
        var found = sessions
            .All.Where(session =>
                !session.IsClosing
                && (session.Id == command.Session || (command.User is not null && session.Caller.Name == command.User))
            )
            .ToArray();
        foreach (var session in found)
        {
            session.Close(reason);
        }

        return new CommandAnswer(found.Length);
    }

    private async Task<CommandAnswer> DoAsync(MoveCommand command)
    {
        if (sessions.All.FirstOrDefault(session => session.Id == command.Session) is not { IsClosing: false } session)
        {
            return new CommandAnswer(0);
        }

        try
        {
            if (command.IsJoin)
            {
                broker.CheckRoomCount(session, [command.Room]);
                await using var join = await broker.Joins.JoinAsync(session, [command.Room]);
                session.Send("joined", JsonText.Quote(command.Room));
            }
            else
            {
                broker.Rooms.Leave(session, command.Room);
                session.Send("left", JsonText.Quote(command.Room));
            }

            return new CommandAnswer(1);
        }
        catch (RefusedException refused)
        {
            return new CommandAnswer(1, refused.Code, refused.Message);
        }
    }

    private static T Read<T>(string json, JsonTypeInfo<T> type) => JsonSerializer.Deserialize(json, type)!;

    private static byte[] Bytes<T>(T value, JsonTypeInfo<T> type) => JsonSerializer.SerializeToUtf8Bytes(value, type);

    /// <summary>Makes a list on a thread of the pool: the asking one receives messages for sessions.</summary>
    private static async ValueTask<byte[]> ListAsync(Func<byte[]> list) => await Task.Run(list);

    private static ValueTask<byte[]> Write<T>(T value, JsonTypeInfo<T> type) =>
        ValueTask.FromResult(Bytes(value, type));
}
