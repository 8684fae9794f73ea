using System.Diagnostics;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text.RegularExpressions;

namespace Dmb.Tests.Transport;

/// <summary>
/// A node whose process can make no further thread (pids.max, RLIMIT_NPROC) goes on. The node runs as a user that
/// has no other process: the limit does not hold for root, and counts all threads of a user. It is the managed program,
/// which has more of them than the native one.
/// </summary>
public sealed partial class ThreadLimitTests
{
    private const string AsUser = "setpriv --reuid=64321 --regid=64321 --clear-groups";

    [Fact]
    public async Task When_the_system_makes_no_further_thread_a_node_serves_and_stops_in_order()
    {
        await RequireUserAsync();
        await using var process = Start("exec");
        var url = Address().Match(await process.LineAsync("listens on")).Groups[1].Value;
        using var http = new HttpClient { BaseAddress = new Uri(url), Timeout = Node.Patience };
        await ShellAsync($"until [ $(cat /proc/{process.Id}/task/*/comm | grep -c 'DMB Spare') = 4 ]; do :; done");
        await ShellAsync($"exec {AsUser} prlimit --pid={process.Id} --nproc=$(ls /proc/{process.Id}/task | wc -l):");

        await Task.WhenAll(Enumerable.Range(0, 64).Select(_ => PushAsync(http)));
        Assert.Equal(
            HttpStatusCode.OK,
            (await http.GetAsync(new Uri(http.BaseAddress, "swagger/index.html"))).StatusCode
        );
        await process.LineAsync("The system makes no further thread");
        await Task.WhenAll(Enumerable.Range(0, 64).Select(_ => PushAsync(http)));

        process.Terminate();
        Assert.Equal(0, await process.EndAsync());
    }

    [Theory]
    [InlineData(26)]
    [InlineData(30)]
    public async Task A_node_starts_with_the_threads_that_the_system_allows(int threads)
    {
        await RequireUserAsync();
        await using var process = Start($"ulimit -u {threads}; exec");
        var url = Address().Match(await process.LineAsync("listens on")).Groups[1].Value;
        using var http = new HttpClient { BaseAddress = new Uri(url), Timeout = Node.Patience };
        await process.LineAsync("The system makes no further thread");
        await Task.WhenAll(Enumerable.Range(0, 64).Select(_ => PushAsync(http)));

        process.Terminate();
        Assert.Equal(0, await process.EndAsync());
    }

    private static ChildProcess Start(string run) =>
        ChildProcess.Start(
            "bash",
            ["-c", $"exec {AsUser} bash -c '{run} dotnet {AppContext.BaseDirectory}/Dmb.dll'"],
            "/",
            ("DMB_PORT", "0"),
            ("REDIS_HOST", "none"),
            ("DMB_DRAIN_WINDOW", "0"),
            ("HOME", "/tmp")
        );

    /// <summary>A push with a compressed body, which needs an assembly and threads that a plain one does not.</summary>
    private static async Task PushAsync(HttpClient http)
    {
        var zipped = new MemoryStream();
        await using (var zip = new GZipStream(zipped, CompressionLevel.Fastest, leaveOpen: true))
        {
            zip.Write("{}"u8);
        }

        using var body = new ByteArrayContent(zipped.ToArray());
        body.Headers.ContentEncoding.Add("gzip");
        body.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        using var answer = await http.PostAsync(new Uri(http.BaseAddress!, "_notify/call"), body);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
    }

    private static async Task RequireUserAsync()
    {
        Assert.SkipUnless(Environment.UserName == "root", "Only root can run a node as another user.");
        Assert.SkipUnless(
            await RunAsync($"{AsUser} test -r {AppContext.BaseDirectory}/Dmb.dll") == 0,
            "Other users can't read the program."
        );
    }

    private static async Task ShellAsync(string command) => Assert.Equal(0, await RunAsync(command));

    private static async Task<int> RunAsync(string command)
    {
        using var shell = Process.Start("bash", ["-c", command]);
        await shell.WaitForExitAsync().WaitAsync(Node.Patience);
        return shell.ExitCode;
    }

    [GeneratedRegex(@"listens on (http://[^ ]+:\d+)\.")]
    private static partial Regex Address();
}
