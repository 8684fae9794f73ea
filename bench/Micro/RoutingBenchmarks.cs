using BenchmarkDotNet.Attributes;
using Dmb.Routing;

namespace Dmb.Bench.Micro;

/// <summary>From a push's event and body to its rooms, all empty. Must not grow with what the tables hold.</summary>
public class RoutingBenchmarks : IDisposable
{
    private readonly TestBroker _broker = new();
    private byte[] _body = [];

    /// <summary>Rooms in the message's <c>_in</c>.</summary>
    [Params(0, 1, 100)]
    public int In { get; set; }

    /// <summary>Registered events, and rooms that somebody is in.</summary>
    [Params(10, 10_000)]
    public int Entries { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        var subscriber = new CountingSubscriber();
        for (var i = 0; i < Entries; i++)
        {
            _broker.Events.Register($"event_{i}", "support", out _);
            _broker.Rooms.Join(subscriber, $"taken:{i}", out _);
        }

        var rooms = string.Join(',', Enumerable.Range(0, In).Select(i => $"\"endpoint:{i}\""));
        _body = TestBroker.Data(200, In == 0 ? "" : $"\"_in\":[{rooms}]");
    }

    [Benchmark]
    public async Task<bool> Publish()
    {
        var address = _broker.Publisher.ReadAddress(_body);
        var registration = _broker.Events.Find("event_7");
        var published = await _broker.Publisher.PublishAsync(
            registration,
            _body,
            address,
            key: null,
            id: null,
            new Origin(Origin.Http)
        );
        return published.Duplicate;
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _broker.Dispose();
        GC.SuppressFinalize(this);
    }
}
