using System.Net;
using Dmb.Bench.Load;

namespace Dmb.Bench.Peers;

/// <summary>An OpenTelemetry collector that reads what it is sent, answers 200 and drops it (OTLP/HTTP).</summary>
internal static class OtlpSink
{
    private static readonly Lazy<int> Started = new(Start);

    /// <summary>The port on loopback; the sink starts at the first use and ends with this process.</summary>
    public static int Port => Started.Value;

    private static int Start()
    {
        var port = ServerProcess.FreePort();
        var listener = new HttpListener { Prefixes = { $"http://127.0.0.1:{port}/" } };
        listener.Start();
        _ = ServeAsync(listener);
        return port;
    }

    private static async Task ServeAsync(HttpListener listener)
    {
        while (true)
        {
            var context = await listener.GetContextAsync();
            await context.Request.InputStream.CopyToAsync(Stream.Null);
            context.Response.Close();
        }
    }
}
