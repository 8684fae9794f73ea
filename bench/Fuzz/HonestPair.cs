using System.Net;
using System.Net.Sockets;
using Dmb.Bench.Backends;

namespace Dmb.Bench.Fuzz;

/// <summary>
/// Somebody who publishes over a connection that it keeps, and somebody who listens: neither does anything odd.
/// </summary>
internal sealed class HonestPair : IDisposable
{
    private const string Room = "honest:1";

    private readonly HttpConnection _publisher;
    private readonly SocketConnection _subscriber;
    private int _number;

    public HonestPair(IPEndPoint node)
    {
        _publisher = new HttpConnection(node);
        _subscriber = new SocketConnection(node);
        _subscriber.Say($$"""{"event":"subscribe","data":"{{Room}}","ack":1}""");
        Await("{\"ack\":1,\"ok\":true");
    }

    /// <summary>Publishes once and awaits it; null, or what went wrong.</summary>
    public string? Check()
    {
        try
        {
            var number = ++_number;
            _publisher.Post("/_notify/trace", $$"""{"honest":{{number}},"_in":"{{Room}}"}""");
            _publisher.Answer();
            Await($$"""{"event":"trace","data":{"honest":{{number}},""");
            return null;
        }
        catch (Exception e) when (e is IOException or SocketException or FormatException)
        {
            return $"the honest client: {e.Message}";
        }
    }

    public void Dispose()
    {
        _publisher.Dispose();
        _subscriber.Dispose();
    }

    private void Await(string start)
    {
        while (!_subscriber.Next().StartsWith(start, StringComparison.Ordinal))
        {
            // Another's message.
        }
    }
}
