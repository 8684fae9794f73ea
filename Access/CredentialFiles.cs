using System.Runtime.InteropServices;

namespace Dmb.Access;

/// <summary>
/// Reloads the files of keys when they change, for rotation without a restart. A new text applies once it is unchanged
/// for one interval, so that a partly written file locks no caller out. An unreadable or invalid file leaves the keys
/// unchanged.
/// </summary>
internal sealed partial class CredentialFiles(
    HostKeys keys,
    AccessOptions options,
    TimeProvider time,
    ILogger<CredentialFiles> logger,
    UserTokens? tokens = null
) : IHostedService, IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly List<Watched> _files = [];
    private readonly Lock _reloading = new();
    private ITimer? _timer;
    private PosixSignalRegistration? _hangup;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        Watch(options.KeysFile, text => keys.Replace(HostKeys.Read(text)));
        Watch(options.JwtKeys, text => tokens!.Replace(UserTokens.ReadKeys(text)));
        Watch(options.JwtSecretFile, text => tokens!.Replace(UserTokens.ReadSecret(text)));
        if (_files.Count > 0)
        {
            _hangup = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
            {
                context.Cancel = true;
                Reload(isComplete: true);
            });

            // Rearmed after each poll, so that polls never overlap.
            _timer = time.CreateTimer(_ => Poll(), null, Interval, Timeout.InfiniteTimeSpan);
        }

        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        _hangup?.Dispose();
        _timer?.Dispose();
    }

    private void Watch(string path, Action<string> apply)
    {
        if (path.Length > 0)
        {
            var text = File.ReadAllText(path);
            apply(text);
            _files.Add(new Watched(path, apply) { Applied = text, Seen = text });
        }
    }

    private void Poll()
    {
        Reload(isComplete: false);
        _timer!.Change(Interval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Reads all files, and applies changed ones.</summary>
    /// <param name="isComplete">
    /// True at SIGHUP, which signals that the files are complete: changes apply at once.
    /// </param>
    private void Reload(bool isComplete)
    {
        lock (_reloading)
        {
            foreach (var file in _files)
            {
                Reload(file, isComplete);
            }
        }
    }

    private void Reload(Watched file, bool isComplete)
    {
        try
        {
            var text = File.ReadAllText(file.Path);
            if (text != file.Applied && (isComplete || text == file.Seen))
            {
                file.Applied = text;
                file.Apply(text);
                LogReloaded(file.Path);
            }

            file.Seen = text;
            file.IsUnreadable = false;
        }
        catch (FormatException bad)
        {
            LogBad(file.Path, bad.Message);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            if (!file.IsUnreadable)
            {
                LogBad(file.Path, gone.Message);
            }

            file.IsUnreadable = true;
        }
    }

    [LoggerMessage(1010, LogLevel.Information, "Reloaded the keys of {Path}, which has changed.")]
    private partial void LogReloaded(string path);

    [LoggerMessage(1011, LogLevel.Warning, "Cannot load the keys of {Path}, the previous ones stay valid: {Why}.")]
    private partial void LogBad(string path, string why);

    private sealed class Watched(string path, Action<string> apply)
    {
        public string Path { get; } = path;

        public Action<string> Apply { get; } = apply;

        /// <summary>The text applied last.</summary>
        public required string Applied { get; set; }

        /// <summary>The text read last.</summary>
        public required string Seen { get; set; }

        public bool IsUnreadable { get; set; }
    }
}
