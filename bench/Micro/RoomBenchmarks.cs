using BenchmarkDotNet.Attributes;

namespace Dmb.Bench.Micro;

/// <summary>Joining and leaving, which must not cost more in a larger room.</summary>
public class RoomBenchmarks : IDisposable
{
    private readonly TestBroker _broker = new();
    private readonly CountingSubscriber _one = new();

    [Params(10, 10_000)]
    public int Members { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        for (var i = 0; i < Members; i++)
        {
            _broker.Rooms.Join(new CountingSubscriber(), "support", out _);
        }
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _broker.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark]
    public void JoinAndLeave()
    {
        _broker.Rooms.Join(_one, "support", out _);
        _broker.Rooms.Leave(_one, "support");
    }
}
