using BenchmarkDotNet.Attributes;
using Dmb.Routing;

namespace Dmb.Bench.Micro;

/// <summary>
/// One message to all in a room, from the hand-over to the last subscriber's flush. Small rooms are served at once;
/// large ones by the loop, which joins what has queued up.
/// </summary>
public class FanOutBenchmarks : IDisposable
{
    private const int Messages = 1_000;
    private const string Bus = "support";

    private readonly TestBroker _broker = new();
    private readonly byte[] _data = TestBroker.Data(200);
    private readonly SemaphoreSlim _arrived = new(0);
    private long _awaited;

    [Params(1, 10, 100, 1_000)]
    public int Subscribers { get; set; }

    [GlobalSetup]
    public async Task SetupAsync()
    {
        await _broker.FanOut.StartAsync(CancellationToken.None);
        for (var i = 0; i < Subscribers - 1; i++)
        {
            _broker.Rooms.Join(new CountingSubscriber(), Bus, out _);
        }

        _broker.Rooms.Join(new LastSubscriber(this), Bus, out _);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _broker.Dispose();
        _arrived.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark(OperationsPerInvoke = Messages)]
    public async Task Deliver()
    {
        _awaited = Messages;
        for (var i = 0; i < Messages; i++)
        {
            await _broker.FanOut.DeliverAsync(TestBroker.Envelope(_data, Bus));
        }

        await _arrived.WaitAsync();
    }

    /// <summary>Joined last, so that it is served last: tells when all messages are through.</summary>
    private sealed class LastSubscriber(FanOutBenchmarks run) : CountingSubscriber
    {
        public override bool Queue(Envelope envelope, int room)
        {
            run._awaited--;
            return base.Queue(envelope, room);
        }

        public override void Flush()
        {
            base.Flush();
            if (run._awaited == 0)
            {
                run._arrived.Release();
            }
        }
    }
}
