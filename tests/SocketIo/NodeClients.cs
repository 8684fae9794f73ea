using System.Diagnostics;

namespace Dmb.Tests.SocketIo;

/// <summary>
/// Socket.IO's own clients from npm, run by Node. Installed once, by <c>npm ci</c> from the lock file.
/// </summary>
public sealed class NodeClients
{
    private readonly string _folder = Path.Combine(Repository.Root, "tests", "SocketIo", "clients");

    public NodeClients()
    {
        if (!File.Exists(Path.Combine(_folder, "node_modules", ".package-lock.json")))
        {
            var output = RunAsync("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts").GetAwaiter().GetResult();
            Assert.True(output.ExitCode == 0, output.Text);
        }
    }

    /// <summary>Runs a script of the folder, and gives what it printed.</summary>
    public async Task<string> RunScriptAsync(string script, params string[] arguments) =>
        (await RunAsync("node", [script, .. arguments])).Text.Trim();

    private async Task<(int ExitCode, string Text)> RunAsync(string command, params string[] arguments)
    {
        var start = new ProcessStartInfo(command, arguments)
        {
            WorkingDirectory = _folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync().WaitAsync(Node.Patience);
        return (process.ExitCode, await output + await error);
    }
}
