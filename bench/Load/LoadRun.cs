using System.Diagnostics;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Load;

/// <summary>One run from the first connection to the report.</summary>
internal static class LoadRun
{
    private static readonly TimeSpan WarmupMin = TimeSpan.FromSeconds(2);
    private const int OtherFiles = 200;

    /// <exception cref="IOException">The server could not be started, reached or loaded.</exception>
    public static Report Run(LoadOptions options)
    {
        var loadAverage = File.ReadAllText("/proc/loadavg").Split(' ')[0];
        if (options.Subscribers + options.InFlight + OtherFiles > Linux.OpenFilesMax())
        {
            throw new IOException($"This process may open {Linux.OpenFilesMax()} files (ulimit -n): too few.");
        }

        using var server = options.Url is null
            ? Prepared(options.Server)
            : ServerProcess.Find(options.Server, options.Url);
        using var generator = new Generator(options, server);
        if (generator.Publish(1) is not { Complete: true, Refused: 0 })
        {
            throw new IOException("The server does not take what is published.");
        }

        var rssBefore = server.Rss();

        var before = Usage.Now(server);
        generator.Connect();
        var connecting = Usage.Now(server) - before;
        var rssIdle = server.Rss();
        generator.Settle();

        var (tally, publishing) = Warm(generator, server, options.Warmup);
        if (tally.Complete)
        {
            (tally, publishing) = Round(generator, server, options.Publishes);
        }

        return new Report(options, loadAverage, tally, connecting, publishing)
        {
            FirstAnswerMs = options.Url is null ? server.FirstAnswer.TotalMilliseconds : null,
            RssBefore = rssBefore,
            RssIdle = rssIdle,
            RssAfter = server.Rss(),
            Closed = generator.Subscribers.Closed,
            LastCloseCode = generator.Subscribers.LastCloseCode,
            OtherFrames = generator.Subscribers.Others,
        };
    }

    private static ServerProcess Prepared(Server server)
    {
        server.Prepare();
        return ServerProcess.Start(server);
    }

    /// <summary>Rounds until enough time has passed. One that loses something is the last, and is reported.</summary>
    private static (Tally Tally, Usage Usage) Warm(Generator generator, ServerProcess server, int publishes)
    {
        var start = Stopwatch.GetTimestamp();
        var round = Round(generator, server, publishes);
        while (publishes > 0 && round.Tally.Complete && Stopwatch.GetElapsedTime(start) < WarmupMin)
        {
            round = Round(generator, server, publishes);
        }

        return round;
    }

    private static (Tally Tally, Usage Usage) Round(Generator generator, ServerProcess server, int publishes)
    {
        var before = Usage.Now(server);
        var tally = generator.Publish(publishes);
        var usage = Usage.Now(server) - before;
        generator.Drain(tally);
        return (tally, usage);
    }
}
