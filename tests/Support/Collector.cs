using System.Collections.Concurrent;
using System.Text;
using Dmb.Routing;

namespace Dmb.Tests.Support;

/// <summary>A subscriber that keeps what it is given, as <c>id</c>s, and is never slow.</summary>
internal sealed class Collector : Subscriber
{
    private readonly ConcurrentQueue<Envelope> _received = new();
    private int _unflushed;

    /// <summary>The ids of what was delivered, in order.</summary>
    public string[] Ids => [.. _received.Select(e => e.Id)];

    /// <summary>The data of what was delivered, in order.</summary>
    public string[] Data => [.. _received.Select(e => Encoding.UTF8.GetString(e.Data.Span))];

    /// <summary>Messages delivered and not flushed after.</summary>
    public int Unflushed => Volatile.Read(ref _unflushed);

    /// <summary>How often it was flushed.</summary>
    public int Flushes { get; private set; }

    public override bool Queue(Envelope envelope, int room)
    {
        _received.Enqueue(envelope);
        return Interlocked.Increment(ref _unflushed) == 1;
    }

    public override bool Queue(string @event, ReadOnlySpan<byte> data) => false;

    public override void Flush()
    {
        Flushes++;
        Interlocked.Exchange(ref _unflushed, 0);
    }
}
