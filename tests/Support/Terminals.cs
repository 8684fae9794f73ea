namespace Dmb.Tests.Support;

/// <summary>The terminals of a reader who types a page's commands, all in one empty folder.</summary>
internal sealed class Terminals : IAsyncDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-terminals");
    private readonly List<ChildProcess> _processes = [];

    /// <summary>The path of a file in that folder.</summary>
    public string PathOf(string file) => Path.Combine(_directory.FullName, file);

    /// <summary>Types a command that goes on, such as a listener.</summary>
    public ChildProcess Type(string command)
    {
        var process = ChildProcess.Start("bash", ["-c", command], _directory.FullName);
        _processes.Add(process);
        return process;
    }

    /// <summary>
    /// Types a command that ends by itself with success, and returns the lines that it prints on standard output.
    /// </summary>
    public async Task<string[]> RunAsync(string command)
    {
        var process = Type("set -eo pipefail\n" + command);
        var code = await process.EndAsync();
        Assert.True(code == 0, $"{command}\nended with {code}:\n{string.Join('\n', process.Lines)}");
        var errors = process.Errors;
        return [.. process.Lines.Where(line => !errors.Contains(line))];
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            await process.DisposeAsync();
        }

        _directory.Delete(recursive: true);
    }
}
