using BenchmarkDotNet.Attributes;
using Dmb.Sockets;

namespace Dmb.Bench.Micro;

/// <summary>The finished bytes of a message, made once for all subscribers of a transport.</summary>
public class EncodeBenchmarks
{
    private byte[] _data = [];

    [Params(200, 20_000)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup() => _data = TestBroker.Data(Bytes);

    [Benchmark]
    public int WebSocket() => WebSocketFrames.Message(TestBroker.Envelope(_data), 0).Length;

    [Benchmark]
    public int DeflatedWebSocket() => WebSocketFrames.DeflatedMessage(TestBroker.Envelope(_data), 0).Length;

    [Benchmark]
    public int EventStream() => EventStreamFrames.Message(TestBroker.Envelope(_data), 0).Length;
}
