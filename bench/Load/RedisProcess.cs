using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Dmb.Bench.Load;

/// <summary>A redis-server of this run's own, which keeps nothing on disk and is ended with this object.</summary>
internal sealed partial class RedisProcess : IDisposable
{
    private readonly Process _process;

    private RedisProcess(Process process, int port)
    {
        _process = process;
        Port = port;
    }

    public int Port { get; }

    public static RedisProcess Start()
    {
        var port = ServerProcess.FreePort();
        string[] arguments = ["--port", $"{port}", "--bind", "127.0.0.1", "--save", ""];
        var (process, _) = Child.Start(new ProcessStartInfo("redis-server", arguments), Ready());
        return new RedisProcess(process, port);
    }

    public TimeSpan CpuTime() => Linux.CpuTime(_process.Id);

    public long Rss() => Linux.Rss(_process.Id);

    /// <summary>
    /// Sends commands without binary arguments, on a connection of its own; gives all answers as they come.
    /// </summary>
    public string Command(params string[] commands)
    {
        using var client = new TcpClient("127.0.0.1", Port);
        client.GetStream().Write(Encoding.ASCII.GetBytes(string.Join("\r\n", [.. commands, "QUIT", ""])));
        return new StreamReader(client.GetStream()).ReadToEnd();
    }

    /// <summary>A number of <c>INFO stats</c>.</summary>
    public long Stat(string name) =>
        long.Parse(
            Regex.Match(Command("INFO stats"), $@"\b{name}:(\d+)").Groups[1].Value,
            CultureInfo.InvariantCulture
        );

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    [GeneratedRegex("Ready to accept connections")]
    private static partial Regex Ready();
}
