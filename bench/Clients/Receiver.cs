using System.Diagnostics;
using System.Globalization;
using Dmb.Bench.Load;
using Dmb.Client;

namespace Dmb.Bench.Clients;

/// <summary>
/// A client in a process of its own, whose CPU time is that of the client. It says <c>ready</c> once it is in its room,
/// and answers each line with the number of messages so far.
/// </summary>
internal sealed class Receiver : IDisposable
{
    private readonly Process _process;

    private Receiver(ProcessStartInfo start)
    {
        (start.RedirectStandardInput, start.RedirectStandardOutput) = (true, true);
        _process = Process.Start(start)!;
        Child.EndWithThis(_process);
    }

    public TimeSpan CpuTime => Linux.CpuTime(_process.Id);

    /// <summary>Starts it; <see cref="Ready"/> waits for it.</summary>
    public static Receiver Start(ProcessStartInfo start) => new(start);

    public void Ready() => _ = ReadLine() == "ready" ? true : throw new IOException("A client is not ready.");

    /// <summary>Messages so far.</summary>
    public long Count()
    {
        _process.StandardInput.WriteLine();
        _process.StandardInput.Flush();
        return long.Parse(ReadLine(), CultureInfo.InvariantCulture);
    }

    /// <summary>Runs as the .NET client.</summary>
    public static async Task RunDotNetAsync(string url)
    {
        await using var client = new DmbClient(
            new DmbClientOptions { Urls = { new Uri(url) }, Rooms = { MessageData.Room } }
        );
        long count = 0;
        var reading = Task.Run(async () =>
        {
            await foreach (var message in client.ReadMessagesAsync())
            {
                Volatile.Write(ref count, count + (message.Utf8Data.IsEmpty ? 0 : 1));
            }
        });
        await client.ConnectedAsync();
        Console.WriteLine("ready");
        while (Console.ReadLine() is not null)
        {
            Console.WriteLine(Volatile.Read(ref count));
        }
    }

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private string ReadLine() =>
        _process.StandardOutput.ReadLine() ?? throw new IOException("A client ended before its answer.");
}
