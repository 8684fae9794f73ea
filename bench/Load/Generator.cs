using System.Diagnostics;

namespace Dmb.Bench.Load;

/// <summary>Publishers and subscribers in one loop on one thread: it must cost less than what it measures.</summary>
internal sealed class Generator : IDisposable
{
    // Nothing at all arrives for so long: what is still missing is lost.
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SettlingSilenceMax = TimeSpan.FromMilliseconds(500);
    private const int SettlingRounds = 20;
    private const int IdleWaitMs = 100;
    private const int DrainWaitMs = 50;
    private const int TimerInEpoll = int.MaxValue;

    private readonly Dialect _dialect;
    private readonly ServerProcess _server;
    private readonly Epoll _epoll = new();
    private readonly int _timer = Linux.Timer();
    private readonly Subscribers _subscribers;
    private LoadOptions _options;
    private Publishers _publishers;
    private long _nextNumber;
    private bool _connected;

    public Generator(LoadOptions options, ServerProcess server)
    {
        _options = options;
        _dialect = options.Server.Dialect;
        _server = server;
        _subscribers = new Subscribers(options, _dialect, server.SubscribeAt, _epoll);
        _publishers = new Publishers(options, _dialect, server.PublishAt, _epoll, _subscribers.Count);
        _epoll.Watch(_timer, TimerInEpoll);
    }

    public Subscribers Subscribers => _subscribers;

    /// <summary>Opens all subscribers and awaits that each has joined.</summary>
    public void Connect()
    {
        var nothing = new Tally(_nextNumber, 0, 0, 0, false);
        var deadline = Stopwatch.GetTimestamp() + Ticks(_options.TimeLimit);
        while (_subscribers.Live < _subscribers.Count)
        {
            _subscribers.OpenMore();
            Turn(nothing, IdleWaitMs);
            if (_subscribers.Closed > 0 || Stopwatch.GetTimestamp() > deadline)
            {
                throw new IOException(
                    $"Only {_subscribers.Live} of {_subscribers.Count} subscribers have joined; "
                        + $"{_subscribers.Closed} were closed, the last with code {_subscribers.LastCloseCode}."
                );
            }
        }

        _connected = true;
    }

    /// <summary>
    /// Where the server does not say when somebody has joined: publishes until every subscriber gets what it is to get.
    /// </summary>
    /// <exception cref="IOException">It never does.</exception>
    public void Settle()
    {
        var settled = _dialect.Join("").Length > 0;
        for (var i = 0; i < SettlingRounds && !settled; i++)
        {
            var tally = Publish(_options.RoomsOfOne ? _subscribers.Count : 1, _options.TimeLimit, SettlingSilenceMax);
            Drain(tally);
            settled = tally.Complete;
        }

        if (!settled)
        {
            throw new IOException("What is published does not reach all subscribers.");
        }
    }

    /// <summary>Goes on with the same subscribers and other publishers.</summary>
    public void Use(LoadOptions options)
    {
        _options = options;
        _publishers.Dispose();
        _publishers = new Publishers(options, _dialect, _server.PublishAt, _epoll, _subscribers.Count);
    }

    /// <summary>One round: until everything has arrived, nothing comes any more, or the time is over.</summary>
    public Tally Publish(int publishes) => Publish(publishes, _options.TimeLimit, SilenceMax);

    /// <summary>The same, but sends for so long only.</summary>
    public Tally Publish(int publishesMax, TimeSpan sending) => Publish(publishesMax, sending, SilenceMax);

    private Tally Publish(int publishes, TimeSpan sending, TimeSpan silenceMax)
    {
        var subscribers = _connected ? _subscribers.Count : 0;
        var tally = new Tally(_nextNumber, publishes, subscribers, _options.InFlight, _options.RoomsOfOne);
        _nextNumber += publishes;
        var now = Stopwatch.GetTimestamp();
        _publishers.Begin(now);

        // Begins to count after the publishers do, and by the same clock: when it ticks, the next publish is due.
        Linux.SetTimer(_timer, _publishers.Interval);
        var deadline = now + Ticks(_options.TimeLimit);
        var sendUntil = now + Ticks(sending);
        var lastArrival = now;
        while (!tally.Complete && now < deadline && now - lastArrival < Ticks(silenceMax))
        {
            if (now > sendUntil)
            {
                tally.End();
            }

            _publishers.Send(tally, now);
            var arrived = Turn(tally, IdleWaitMs) > 0;
            now = Stopwatch.GetTimestamp();
            lastArrival = arrived ? now : lastArrival;
        }

        Linux.SetTimer(_timer, 0);
        return tally;
    }

    /// <summary>Goes on reading until nothing has come for a while: what comes now, comes twice.</summary>
    public void Drain(Tally tally)
    {
        var deadline = Stopwatch.GetTimestamp() + Ticks(_options.TimeLimit);
        while (Turn(tally, DrainWaitMs) > 0 && Stopwatch.GetTimestamp() < deadline) { }
    }

    private int Turn(Tally tally, int milliseconds)
    {
        var readable = _epoll.Wait(milliseconds);
        var arrived = 0;
        for (var i = 0; i < readable; i++)
        {
            var number = _epoll[i];
            if (number < _subscribers.Count)
            {
                _subscribers.Read(number, tally);
                arrived++;
            }
            else if (number < TimerInEpoll)
            {
                _publishers.Read(number - _subscribers.Count, tally, Stopwatch.GetTimestamp());
                arrived++;
            }
            else
            {
                Linux.ReadTimer(_timer);
            }
        }

        return arrived;
    }

    private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);

    public void Dispose()
    {
        _publishers.Dispose();
        _subscribers.Dispose();
        Linux.Close(_timer);
        _epoll.Dispose();
    }
}
