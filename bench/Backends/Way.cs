using System.Globalization;
using System.Net;
using Dmb.Bench.Load;

namespace Dmb.Bench.Backends;

/// <summary>One way that numbered messages go from one end to the other.</summary>
internal abstract class Way(string name) : IDisposable
{
    private const int DataBytes = 200;
    private const string Number = "{\"n\":";

    public string Name { get; } = name;

    /// <summary>Sends a message, and does not wait.</summary>
    public abstract void Send(long number);

    /// <summary>Waits for the next message, and gives its number.</summary>
    public abstract long Receive();

    public abstract void Dispose();

    /// <summary>What all messages carry: 200 bytes.</summary>
    protected static string Data(long number)
    {
        var start = $"{Number}{number},\"pad\":\"";
        return start + new string('x', DataBytes - start.Length - 2) + "\"}";
    }

    /// <summary>The number in a message's data, or -1 where there is none.</summary>
    protected static long NumberIn(string message)
    {
        var start = message.IndexOf(Number, StringComparison.Ordinal);
        return start < 0
            ? -1
            : long.Parse(
                message.AsSpan(start + Number.Length, message.AsSpan(start).IndexOf(',') - Number.Length),
                CultureInfo.InvariantCulture
            );
    }
}

/// <summary>Redis alone: PUBLISH to SUBSCRIBE.</summary>
internal sealed class BareWay : Way
{
    private const string Channel = "bench";
    private readonly RedisConnection _publisher;
    private readonly RedisConnection _subscriber;

    public BareWay(RedisProcess redis)
        : base("bare PUBLISH to SUBSCRIBE")
    {
        (_publisher, _subscriber) = (new RedisConnection(redis), new RedisConnection(redis));
        _subscriber.Subscribe(Channel);
    }

    public override void Send(long number) => _publisher.Publish(Channel, Data(number));

    public override long Receive() => NumberIn(_subscriber.Next());

    public override void Dispose()
    {
        _publisher.Dispose();
        _subscriber.Dispose();
    }
}

/// <summary>A <c>bk_message</c> over Redis to a browser's socket.</summary>
internal sealed class RedisDownlinkWay(RedisProcess redis, IPEndPoint node, string bkid)
    : Way("bk_message over Redis to browser")
{
    private readonly RedisConnection _backend = new(redis);
    private readonly User _user = new(node, bkid, "redis");

    public override void Send(long number) =>
        _backend.Publish(
            "dmb:" + bkid,
            $$"""{"type":"bk_message","id":"r{{number}}","to":"redis","data":{{Data(number)}}}"""
        );

    public override long Receive() => NumberIn(_user.Socket.Next());

    public override void Dispose()
    {
        _backend.Dispose();
        _user.Dispose();
    }
}

/// <summary>A <c>bk_message</c> over HTTP to a browser's socket.</summary>
internal sealed class HttpDownlinkWay(IPEndPoint backendNode, IPEndPoint userNode, string bkid)
    : Way("bk_message over HTTP to browser")
{
    private readonly HttpConnection[] _backend =
    [
        .. Enumerable.Range(0, BackendBench.InFlightMax).Select(_ => new HttpConnection(backendNode)),
    ];
    private readonly User _user = new(userNode, bkid, "http");

    public override void Send(long number)
    {
        var connection = Of(number);
        if (connection.IsUnderWay)
        {
            connection.Answer();
        }

        connection.Post($"/backend/{bkid}/messages", $$"""{"id":"h{{number}}","to":"http","data":{{Data(number)}}}""");
    }

    public override long Receive()
    {
        var number = NumberIn(_user.Socket.Next());
        if (number >= 0 && Of(number) is { IsUnderWay: true } connection)
        {
            connection.Answer();
        }

        return number;
    }

    public override void Dispose()
    {
        Array.ForEach(_backend, connection => connection.Dispose());
        _user.Dispose();
    }

    private HttpConnection Of(long number) => _backend[number % _backend.Length];
}

/// <summary>A browser's <c>dmb:message</c> to whoever listens on <c>dmb:uplink</c>.</summary>
internal sealed class UplinkWay : Way
{
    private readonly User _user;
    private readonly RedisConnection _backend;

    public UplinkWay(RedisProcess redis, IPEndPoint node, string bkid)
        : base("browser's dmb:message to dmb:uplink")
    {
        (_user, _backend) = (new User(node, bkid, "uplink"), new RedisConnection(redis));
        _backend.Subscribe("dmb:uplink");
    }

    public override void Send(long number) =>
        _user.Socket.Say($$$"""{"event":"dmb:message","data":{"data":{{{Data(number)}}}}}""");

    public override long Receive() => NumberIn(_backend.Next());

    public override void Dispose()
    {
        _user.Dispose();
        _backend.Dispose();
    }
}

/// <summary>A browser that is a user of the backend.</summary>
internal sealed class User : IDisposable
{
    public User(IPEndPoint node, string bkid, string name)
    {
        Socket = new SocketConnection(node);
        Socket.Say($$"""{"event":"dmb:connect","data":{"service":"{{bkid}}","user":"{{name}}"},"ack":1}""");
        string answer;
        do
        {
            answer = Socket.Next();
        } while (!answer.StartsWith("{\"ack\":1,", StringComparison.Ordinal));

        if (!answer.Contains("\"ok\":true", StringComparison.Ordinal))
        {
            throw new IOException(answer);
        }
    }

    public SocketConnection Socket { get; }

    public void Dispose() => Socket.Dispose();
}
