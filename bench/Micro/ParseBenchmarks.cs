using BenchmarkDotNet.Attributes;
using Dmb.Sockets;

namespace Dmb.Bench.Micro;

/// <summary>The one pass over what came in: is it JSON, and where does it want to go?</summary>
public class ParseBenchmarks : IDisposable
{
    private readonly TestBroker _broker = new();
    private byte[] _body = [];
    private byte[] _frame = [];

    [Params(200, 2_000, 65_536)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _body = TestBroker.Data(Bytes, "\"endpoint\":\"1234\",\"status\":\"registered\",\"expires\":3600");
        _frame = [.. "{\"event\":\"report_csr\",\"data\":"u8, .. _body, .. ",\"ack\":7}"u8];
    }

    [Benchmark]
    public bool Push() => _broker.Publisher.ReadAddress(_body).Endpoint is not null;

    [Benchmark]
    public int SocketFrame() => ClientFrameReader.Read(_frame, _broker.Publisher.ReaderOptions).Data.Length;

    [GlobalCleanup]
    public void Dispose()
    {
        _broker.Dispose();
        GC.SuppressFinalize(this);
    }
}
