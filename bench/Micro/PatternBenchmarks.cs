using BenchmarkDotNet.Attributes;

namespace Dmb.Bench.Micro;

/// <summary>
/// One message to a room of one, from the publish to the subscriber's flush, with so many patterns of other sessions in
/// place, none of which the room matches.
/// </summary>
public class PatternBenchmarks : IDisposable
{
    private const int Messages = 1_000;

    private readonly TestBroker _broker = new();
    private readonly byte[] _data = TestBroker.Data(200);

    [Params(0, 10_000)]
    public int Patterns { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _broker.Rooms.Join(new CountingSubscriber(), "endpoint:1234", out _);
        for (var i = 0; i < Patterns; i++)
        {
            _broker.Rooms.Join(new CountingSubscriber(), $"endpoint:{i}:*", out _);
        }
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _broker.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark(OperationsPerInvoke = Messages)]
    public async Task Publish()
    {
        for (var i = 0; i < Messages; i++)
        {
            await _broker.Backplane.PublishAsync(TestBroker.Envelope(_data, "endpoint:1234"));
        }
    }
}
