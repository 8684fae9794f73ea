using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Dmb.Bench.Backends;
using Dmb.Bench.Load;

namespace Dmb.Bench.Hostile;

/// <summary>
/// One who publishes 50 messages a second over a connection that it keeps, and some who listen. What counts is the time
/// from when a message was due, so that one that waits behind another waits too.
/// </summary>
internal sealed class HonestLoad : IDisposable
{
    public const int PerSecond = 50;
    public const int SubscriberCount = 4;

    private const int MessagesMax = 20_000;
    private const string Room = "honest:1";
    private const string Start = $$"""{"event":"report_csr","data":{"n":""";

    private readonly HttpConnection _publisher;
    private readonly SocketConnection[] _subscribers;
    private readonly Thread[] _threads;
    private readonly long[] _due = new long[MessagesMax];
    private readonly Histogram[] _phases = new Histogram[MessagesMax];
    private readonly CancellationTokenSource _end = new();
    private Histogram _phase = new();
    private int _published;
    private int _arrived;

    public HonestLoad(IPEndPoint node)
    {
        _publisher = new HttpConnection(node);
        _subscribers = [.. Enumerable.Range(0, SubscriberCount).Select(_ => Subscribe(node))];
        _threads = [new Thread(Publish), .. _subscribers.Select(subscriber => new Thread(() => Listen(subscriber)))];
        Array.ForEach(_threads, thread => thread.Start());
    }

    /// <summary>Why one of them had to give up; null as long as none had.</summary>
    public string? Fault { get; private set; }

    /// <summary>Copies that are missing, once nothing is on its way any more.</summary>
    public int Missing => (Volatile.Read(ref _published) * SubscriberCount) - Volatile.Read(ref _arrived);

    /// <summary>Counts what is due from now on by itself.</summary>
    public Histogram Begin() => _phase = new Histogram();

    /// <summary>No further message is published.</summary>
    public void End()
    {
        _end.Cancel();
        _threads[0].Join();
    }

    public void Dispose()
    {
        End();
        _publisher.Dispose();
        Array.ForEach(_subscribers, subscriber => subscriber.Dispose());
        _end.Dispose();
    }

    private static SocketConnection Subscribe(IPEndPoint node)
    {
        var subscriber = new SocketConnection(node);
        subscriber.Say($$"""{"event":"subscribe","data":"{{Room}}","ack":1}""");
        while (!subscriber.Next().StartsWith("{\"ack\":1,\"ok\":true", StringComparison.Ordinal))
        {
            // The welcome.
        }

        return subscriber;
    }

    private void Publish()
    {
        try
        {
            var start = Stopwatch.GetTimestamp();
            for (var n = 0; n < MessagesMax; n++)
            {
                _due[n] = start + (n * Stopwatch.Frequency / PerSecond);
                while (Stopwatch.GetElapsedTime(_due[n]) is var late && late < TimeSpan.Zero)
                {
                    if (_end.Token.WaitHandle.WaitOne(-late))
                    {
                        return;
                    }
                }

                _phases[n] = _phase;
                _publisher.Post("/_notify/report_csr", $$"""{"n":{{n}},"_in":"{{Room}}"}""");
                _publisher.Answer();
                Volatile.Write(ref _published, n + 1);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or FormatException)
        {
            Fault ??= $"the publisher: {e.Message}";
        }
    }

    private void Listen(SocketConnection subscriber)
    {
        try
        {
            while (true)
            {
                var message = subscriber.Next();
                if (!message.StartsWith(Start, StringComparison.Ordinal))
                {
                    continue;
                }

                var now = Stopwatch.GetTimestamp();
                var digits = message.AsSpan(Start.Length);
                var n = int.Parse(digits[..digits.IndexOf(',')], CultureInfo.InvariantCulture);
                lock (_due)
                {
                    _phases[n].Add(Stopwatch.GetElapsedTime(_due[n], now).Ticks * TimeSpan.NanosecondsPerTick);
                }

                Interlocked.Increment(ref _arrived);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            if (!_end.IsCancellationRequested)
            {
                Fault ??= $"a subscriber: {e.Message}";
            }
        }
    }
}
