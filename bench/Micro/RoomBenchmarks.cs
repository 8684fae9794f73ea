using BenchmarkDotNet.Attributes;
using Dmb.Routing;

namespace Dmb.Bench.Micro;

/// <summary>Joining and leaving, which must not cost more in a larger room.</summary>
public class RoomBenchmarks
{
    private readonly RoomTable _rooms = new();
    private readonly CountingSubscriber _one = new();

    [Params(10, 10_000)]
    public int Members { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        for (var i = 0; i < Members; i++)
        {
            _rooms.Join(new CountingSubscriber(), "support", out _);
        }
    }

    [Benchmark]
    public void JoinAndLeave()
    {
        _rooms.Join(_one, "support", out _);
        _rooms.Leave(_one, "support");
    }
}
